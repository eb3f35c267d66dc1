"""The table of scores: one row per image and metric, the same bytes for the same scores."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from taca.scoring.images import ImageRow

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
    """Writes the rows in their order; no dates and no library's own metadata go into the file."""
    rows = list(rows)
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    pq.write_table(pa.table(columns, schema=SCHEMA), path, compression="zstd", store_schema=False)


def read_scores(path: Path) -> list[ScoreRow]:
    """The rows of a file that `write_scores` wrote."""
    names = [field.name for field in fields(ScoreRow)]
    return [ScoreRow(**row) for row in pq.read_table(path, columns=names).to_pylist()]


def scores_by_prompt(rows: Iterable[ScoreRow]) -> dict[tuple[str, str], dict[int, float]]:
    """For each (category, metric), the score of each prompt index: the mean over the prompt's images."""
    images: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in rows:
        images.setdefault((row.category, row.metric), {}).setdefault(row.prompt_index, []).append(row.score)
    return {
        question: {prompt: float(np.mean(scores)) for prompt, scores in sorted(prompts.items())}
        for question, prompts in images.items()
    }
