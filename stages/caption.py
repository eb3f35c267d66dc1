"""Stage `caption`: describes every sampled image."""

import sys
from pathlib import Path

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.params import load
from runtime.execution import stage

OUTPUT = "data/captions.parquet"


def main() -> None:
    with stage("caption", sys.argv[1:], load, (CompbenchError, LabError)) as run:
        caption(run)


def caption(run) -> None:
    """Writes one caption an image."""
    from compbench.tables import read_table, write_table
    from lab.data.captions import SCHEMA, caption_images

    folder = Path("data/sample")
    rows = caption_images(run.params.caption.captioner, folder, read_table(folder / "index.parquet"))
    write_table(run.fresh(OUTPUT), rows, SCHEMA)
    run.log_metrics({"captions": len(rows)})


if __name__ == "__main__":
    main()
