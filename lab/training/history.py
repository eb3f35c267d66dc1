"""The loss history as a CSV file, which `dvc plots` and the report read."""

import csv
from collections.abc import Sequence
from pathlib import Path

COLUMNS = ("step", "loss", "held_out_loss")


def write_history(path: Path, history: Sequence[dict]) -> None:
    """One row a step; a value that was not measured is left empty."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _text(row[key]) for key in COLUMNS} for row in history)


def _text(value: float | int | None) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)
