"""Stage `sample`: images with the words they came with."""

import sys

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.online import go_online
from lab.params import load
from runtime.execution import stage

OUTPUT = "data/sample"
# `sample.folder` of sources that read no folder of the user's.
WORLD, HOSTED = "lab/world", "lab/hosted"


def main() -> None:
    with stage("sample", sys.argv[1:], load, (CompbenchError, LabError)) as run:
        sample(run)


def sample(run) -> None:
    """Writes `images/`, `index.parquet` and what the source says of itself."""
    settings = run.params.sample
    if settings.folder == HOSTED:
        # Naming a place elsewhere is the consent to ask it. Before all that loads the hub's client.
        go_online()
    from compbench.tables import write_table
    from lab.data.fetching.store import place
    from lab.data.sample import SCHEMA, Record
    from lab.data.sample import sample as sample_images

    if settings.folder not in (WORLD, HOSTED):
        run.log_input("sample.folder", settings.folder)
    folder, record = run.fresh(OUTPUT), Record()
    rows = sample_images(**settings.model_dump(), target=folder, scratch=run.work, store=place(), record=record)
    write_table(folder / "index.parquet", rows, SCHEMA)
    for name, address, digest in record.inputs:
        run.log_hosted_input(name, address, digest)
    run.log_metrics({"images": len(rows), **record.metrics})


if __name__ == "__main__":
    main()
