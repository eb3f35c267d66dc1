"""The table of scores: one row per image and metric, the same bytes for the same scores."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from compbench.images import ImageRow
from compbench.tables import read_columns, write_table

SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("prompt_index", pa.int64()),
        ("prompt", pa.string()),
        ("category", pa.string()),
        ("path", pa.string()),
        ("metric", pa.string()),
        ("score", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class ScoreRow(ImageRow):
    """One image's score by one metric."""

    metric: str
    score: float

    def as_dict(self) -> dict[str, object]:
        """The row by the names of `SCHEMA`."""
        return {name: getattr(self, name) for name in SCHEMA.names}


def write_scores(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Writes the rows in their order."""
    write_table(path, map(ScoreRow.as_dict, rows), SCHEMA)


@dataclass(frozen=True)
class Scores:
    """A table of scores by its columns: as objects, the rows of twenty arms at full size take seconds and gigabytes."""

    table: pa.Table

    @classmethod
    def read(cls, path: Path) -> "Scores":
        """Those of a file that `write_scores` wrote; raises as `read_columns`."""
        return cls(read_columns(path, SCHEMA.names))

    @classmethod
    def of(cls, rows: Iterable[ScoreRow]) -> "Scores":
        """Those of these rows."""
        return cls(pa.Table.from_pylist([row.as_dict() for row in rows], schema=SCHEMA))

    def rows(self) -> list[ScoreRow]:
        """All rows."""
        return self._rows(self.table)

    def by_prompt(self) -> dict[tuple[str, str], dict[int, float]]:
        """As `scores_by_prompt`."""
        return _by_prompt(zip(*map(self._values, ("category", "metric", "prompt_index", "score")), strict=True))

    def firsts(self) -> list[ScoreRow]:
        """The rows of each prompt's first image, in their order."""
        first: dict[int, str] = {}
        prompts, paths = self._values("prompt_index"), self._values("path")
        places = [
            place for place, prompt in enumerate(prompts) if first.setdefault(prompt, paths[place]) == paths[place]
        ]
        return self._rows(self.table.take(places))

    def of_images(self, paths: Collection[str]) -> list[ScoreRow]:
        """The rows of the images of these paths."""
        return self._rows(self.table.filter(pc.is_in(self.table["path"], pa.array(paths, pa.string()))))

    def _values(self, name: str) -> list:
        return self.table[name].to_numpy().tolist()  # several times as fast as `to_pylist`

    @staticmethod
    def _rows(table: pa.Table) -> list[ScoreRow]:
        return [ScoreRow(**row) for row in table.to_pylist()]


def scores_by_prompt(rows: Iterable[ScoreRow]) -> dict[tuple[str, str], dict[int, float]]:
    """For each (category, metric), the score of each prompt index: the mean over the prompt's images."""
    return _by_prompt((row.category, row.metric, row.prompt_index, row.score) for row in rows)


def _by_prompt(rows: Iterable[tuple[str, str, int, float]]) -> dict[tuple[str, str], dict[int, float]]:
    images: dict[tuple[str, str], dict[int, list[float]]] = {}
    for category, metric, prompt, score in rows:
        images.setdefault((category, metric), {}).setdefault(prompt, []).append(score)
    return {
        question: {prompt: float(np.mean(scores)) for prompt, scores in sorted(prompts.items())}
        for question, prompts in images.items()
    }
