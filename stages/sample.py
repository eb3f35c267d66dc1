"""Stage `sample`: images with the words they came with."""

import sys

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.params import load
from runtime.execution import stage

OUTPUT = "data/sample"


def main() -> None:
    with stage("sample", sys.argv[1:], load, (CompbenchError, LabError)) as run:
        sample(run)


def sample(run) -> None:
    """Writes `images/` and `index.parquet`."""
    from compbench.tables import write_table
    from lab.data.sample import SCHEMA
    from lab.data.sample import sample as sample_images

    settings = run.params.sample
    if settings.folder is not None:
        run.log_input("sample.folder", settings.folder)
    folder = run.fresh(OUTPUT)
    rows = sample_images(settings.source, settings.folder, settings.size, settings.seed, folder, run.work / "unpacked")
    write_table(folder / "index.parquet", rows, SCHEMA)
    run.log_metrics({"images": len(rows)})


if __name__ == "__main__":
    main()
