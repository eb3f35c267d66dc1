"""Stage `caption`: describes every sampled image."""

import sys
from pathlib import Path

from taca.execution import stage

OUTPUT = "data/captions.parquet"


def main() -> None:
    with stage("caption", sys.argv[1:]) as run:
        caption(run)


def caption(run) -> None:
    """Writes one caption an image."""
    from taca.data.captions import SCHEMA, caption_images
    from taca.data.tables import read_table, write_table

    folder = Path("data/sample")
    rows = caption_images(run.params.caption.captioner, folder, read_table(folder / "index.parquet"))
    write_table(run.fresh(OUTPUT), rows, SCHEMA)
    run.log_metrics({"captions": len(rows)})


if __name__ == "__main__":
    main()
