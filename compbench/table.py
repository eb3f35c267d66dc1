"""The table of scores: one row per image and metric, the same bytes for the same scores."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from compbench.images import ImageRow
from compbench.tables import read_table, write_table

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


@dataclass(frozen=True)
class ScoreRow(ImageRow):
    """One image's score by one metric."""

    metric: str
    score: float


def write_scores(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Writes the rows in their order."""
    write_table(path, map(vars, rows), SCHEMA)


def read_scores(path: Path) -> list[ScoreRow]:
    """The rows of a file that `write_scores` wrote."""
    return [ScoreRow(**row) for row in read_table(path)]


def scores_by_prompt(rows: Iterable[ScoreRow]) -> dict[tuple[str, str], dict[int, float]]:
    """For each (category, metric), the score of each prompt index: the mean over the prompt's images."""
    images: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in rows:
        images.setdefault((row.category, row.metric), {}).setdefault(row.prompt_index, []).append(row.score)
    return {
        question: {prompt: float(np.mean(scores)) for prompt, scores in sorted(prompts.items())}
        for question, prompts in images.items()
    }
