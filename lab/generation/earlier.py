"""Images of an earlier execution with fewer prompts and otherwise the same settings."""

import os
from collections.abc import Sequence
from pathlib import Path

from compbench.tables import read_table
from lab.generation.plan import PlannedImage


def take_over(earlier: Path, folder: Path, planned: Sequence[PlannedImage]) -> int:
    """Links the planned images that `earlier` has from the same prompt and seed into `folder`; how many there were.

    Args:
        earlier: a folder that stage `generate` wrote, `index.parquet` included.
    """
    made = {(row["path"], row["prompt"], row["seed"]) for row in read_table(earlier / "index.parquet")}
    wanted = [image for image in planned if (image.path, image.prompt, image.seed) in made]
    for image in wanted:
        target = folder / image.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(earlier / image.path, target)
    return len(wanted)
