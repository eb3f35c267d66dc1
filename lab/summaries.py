"""Scores as DVC's tables show them: a file for each arm, a column for each category.

`dvc metrics show` prints paths and columns side by side and cuts neither, so names are short and values have three
decimals: a line then fits into 80 columns. DVC takes a file without a suffix for YAML.
"""

from collections.abc import Mapping
from pathlib import Path

MEANS, GAINS = "means", "gains"  # paths in dvc.yaml
DECIMALS = 3


def write_summary(path: Path, values: Mapping[str, float]) -> None:
    """Writes values by category."""
    # Adding zero makes -0.0 plain.
    lines = [f"{category}: {round(value, DECIMALS) + 0.0}\n" for category, value in values.items()]
    path.write_text("".join(lines) or "{}\n")
