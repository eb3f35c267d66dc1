"""What a scorer is, what it is given, and what a category is measured by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from compbench.errors import CompbenchError
from compbench.tables import read_table

SCORE_METRICS = {
    "color": "attribute",
    "shape": "attribute",
    "texture": "attribute",
    "spatial": "spatial",
    "3d_spatial": "spatial_3d",
    "numeracy": "numeracy",
    "non_spatial": "clip",
    "complex": "complex",
}
"""The metric that stands for each category in tables, as the paper's Table 1 orders them; it lacks 3D and numeracy."""


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return isinstance(value, str | None)


def _are(kind: type) -> Callable[[object], bool]:
    return lambda values: values is None or (isinstance(values, list) and all(isinstance(one, kind) for one in values))


_KINDS: dict[str, Callable[[object], bool]] = {
    "index": lambda value: isinstance(value, int),
    **dict.fromkeys(("prompt", "category", "parser"), _is_text),
    **dict.fromkeys(("relation", "clip_text", "subset"), _is_text_or_none),
    **dict.fromkeys(("phrases", "objects"), _are(str)),
    "counts": _are(int),
}


@dataclass(frozen=True)
class Prompt:
    """One row of `data/prompts.parquet`, parsed once by the stage that wrote it.

    `phrases` are noun phrases as the parser gives them, `objects` the two sides of `relation`, subject first, or, of a
    numeracy prompt, the objects to count, with how many of each in `counts`. `clip_text` is what CLIPScore compares
    the image with where that is not the prompt (complex prompts lose their adjectives), `subset` the part of the
    complex prompts that it belongs to: spatial, action or spatialaction. `parser` says who made the parse.
    """

    index: int
    prompt: str
    category: str
    phrases: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    relation: str | None = None
    counts: tuple[int, ...] = ()
    clip_text: str | None = None
    subset: str | None = None
    parser: str = ""


class Scorer(Protocol):
    """Answers one question about images. Scores lie in [0, 1], or are cosines."""

    name: str

    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> list[float]:
        """One score for each pair of RGB image and prompt; both lists have the same length."""
        ...


@dataclass(frozen=True)
class Measure:
    """What one category is measured by: scorers, and optionally the name and rule of one more metric made of theirs."""

    scorers: tuple[Scorer, ...]
    combine: tuple[str, Callable[[Mapping[str, Sequence[float]], Sequence[Prompt]], list[float]]] | None = None

    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> dict[str, list[float]]:
        """Scores by metric, in the order in which they are written. All scorers see the same list object."""
        scores = {scorer.name: scorer.score(images, prompts) for scorer in self.scorers}
        if self.combine is not None:
            name, rule = self.combine
            scores[name] = rule(scores, prompts)
        return scores


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a parquet file, in its order, columns that scoring does not use left out.

    Raises: CompbenchError for values of other types than `compbench.prompts.SCHEMA` has, and what `read_table` raises.

    Value by value, since arrow takes the letters of a text for a list of texts.
    """
    rows = read_table(path, list(Prompt.__dataclass_fields__))
    for number, row in enumerate(rows, start=1):
        wrong = next((name for name, is_right in _KINDS.items() if not is_right(row[name])), None)
        if wrong is not None:
            raise CompbenchError(
                f"Row {number} of {path} has the {wrong} {row[wrong]!r}, but its columns must be of the types of "
                "`compbench.prompts.SCHEMA`: make the table again."
            )
    return [prompt_of(row) for row in rows]


def prompt_of(row: Mapping) -> Prompt:
    """A row of the table of prompts, which may have more columns."""
    known = {name: row[name] for name in Prompt.__dataclass_fields__}
    return Prompt(**known | {name: tuple(row[name] or ()) for name in ("phrases", "objects", "counts")})
