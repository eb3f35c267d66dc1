"""Which rows of a table pass: conditions on its columns, reckoned batch by batch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lab.errors import LabError


@dataclass(frozen=True)
class Condition:
    """What the values of a column must be; a null, and what is not a number among numbers, passes none.

    Attributes:
        key: of params.yaml, for messages.
        min, max: bounds that belong to the range.
        any_of, none_of: values.
    """

    key: str
    column: str
    min: float | None = None
    max: float | None = None
    any_of: tuple | None = None
    none_of: tuple | None = None

    def mask(self, values: pa.Array) -> np.ndarray:
        """A truth value for each of the column's values. Raises: LabError for values of another type."""
        found, values = pc.is_valid(values), _comparable(values)
        try:
            for bound, compare in ((self.min, pc.greater_equal), (self.max, pc.less_equal)):
                if bound is not None:
                    found = pc.and_(found, compare(_number(values), bound))
            for listed, wanted in ((self.any_of, True), (self.none_of, False)):
                if listed is not None:
                    among = pc.is_in(values, value_set=pa.array(listed).cast(_plain(values.type)))
                    found = pc.and_(found, among if wanted else pc.invert(among))
        except pa.ArrowException:
            raise LabError(
                f"`{self.key}` does not go with the column {self.column}, which holds {values.type}: min and max are "
                "for numbers, any_of and none_of need values of the column's type."
            ) from None
        return found.fill_null(False).to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class Aspect:
    """Longer side by shorter side, at most `most`."""

    width: str
    height: str
    most: float

    def mask(self, widths: pa.Array, heights: pa.Array) -> np.ndarray:
        sides = [
            np.asarray(_number(_comparable(values)).fill_null(0).cast(pa.float64())) for values in (widths, heights)
        ]
        return np.maximum(*sides) <= self.most * np.minimum(*sides)


@dataclass(frozen=True)
class Passing:
    """All conditions of a draw."""

    conditions: tuple[Condition, ...]
    aspect: Aspect | None = None

    @property
    def columns(self) -> list[str]:
        """Those that must be read to know which rows pass."""
        shape = [self.aspect.width, self.aspect.height] if self.aspect else []
        return list(dict.fromkeys([*(condition.column for condition in self.conditions), *shape]))

    def mask(self, batch: pa.RecordBatch) -> np.ndarray:
        """Which rows of a batch of these columns pass. Raises: LabError for a column of the wrong type."""
        passing = np.ones(len(batch), bool)
        for condition in self.conditions:
            passing &= condition.mask(batch[condition.column])
        if self.aspect:
            passing &= self.aspect.mask(batch[self.aspect.width], batch[self.aspect.height])
        return passing


def conditions(filters: Mapping[str, Mapping]) -> tuple[Condition, ...]:
    """Those of `sample.filters`."""
    return tuple(
        Condition(
            f"sample.filters.{column}",
            column,
            *(said.get(key) for key in ("min", "max")),
            *(tuple(said[key]) if said.get(key) else None for key in ("any_of", "none_of")),
        )
        for column, said in filters.items()
    )


def _comparable(values: pa.Array) -> pa.Array:
    """Of the types that a table may have and arrow compares with nothing, their like."""
    likes = {pa.float16(): pa.float32(), pa.string_view(): pa.string()}
    return values.cast(likes.get(values.type, values.type))


def _number(values: pa.Array) -> pa.Array:
    """Raises: ArrowInvalid for what is none; a text of digits is a text."""
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type)):
        raise pa.ArrowInvalid("no numbers")
    return values


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
