"""Stage `base`: the base pipeline: the built-in one, which is committed, or the pin of a published one."""

import json
import os
import shutil
import sys
from pathlib import Path

from lab.errors import LabError
from lab.online import go_online
from lab.params import load
from runtime.execution import stage

TRAIN = "TACA_TRAIN_BASE"  # set by `make base`: half an hour of work is not what `dvc repro` starts by itself


def main() -> None:
    with stage("base", sys.argv[1:], load, (LabError,)) as run:
        SOURCES[run.params.base.source](run, f"models/base/{run.params.base.name}")


def from_hub(run, place: str) -> None:
    """Writes the pin of a repository, whose files stay in the hub's cache: naming the source is consent to download."""
    go_online()
    from lab.models.published.complete import check_complete
    from lab.models.published.hub import download, find_repository, read_index
    from lab.models.published.kind import check_kind
    from lab.models.published.pin import Pin, facts_of
    from lab.models.published.selection import files_to_load

    base = run.params.base
    repository = find_repository(base.repo, base.revision)
    index = read_index(repository)
    check_kind(index, base.repo)
    names = files_to_load(index, repository.files, base.variant)
    folder = download(repository, names)
    check_complete(folder, base.variant)
    pin = Pin(facts_of(folder, names), repo=base.repo, commit=repository.commit, variant=base.variant)
    pin.write(run.fresh(place))
    run.log_metrics({"bytes": pin.size})


def from_folder(run, place: str) -> None:
    """Writes the pin of a folder, which stays where it is."""
    from lab.models.published.complete import check_complete
    from lab.models.published.kind import check_kind
    from lab.models.published.pin import Pin, facts_of
    from lab.models.published.selection import INDEX, files_to_load

    folder = Path(run.params.base.folder)
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except ValueError as error:
        raise LabError(f"{folder / INDEX} is no JSON ({error}): choose a complete pipeline.") from None
    check_kind(index, run.params.base.folder)
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = files_to_load(index, files, variant=None)
    check_complete(folder, variant=None)
    pin = Pin(facts_of(folder, names), folder=run.params.base.folder)
    pin.write(run.fresh(place))
    run.log_metrics({"bytes": pin.size})


def from_world(run, place: str) -> None:
    """Keeps the committed pipeline, or trains it where that was asked for."""
    if TRAIN in os.environ:
        train(run, place)
    else:
        keep(run, place)


def keep(run, place: str) -> None:
    """Leaves the pipeline as it is.

    Raises:
        LabError: it is not what these parameters and this code make, as far as `dvc.lock` knows.
    """
    if not run.is_recorded(place):
        raise LabError(
            f"{place} is not what its parameters and code make: `make base` trains it (40 minutes on two cores), or "
            "take the change back; where an edit of code changes no byte of it, `dvc commit base` says so."
        )
    shutil.copytree(place, run.fresh(place), dirs_exist_ok=True)


def train(run, place: str) -> None:
    """Writes the pipeline's folder from nothing but parameters."""
    import torch

    from lab.models.builtin.config import BuiltinConfig
    from lab.models.builtin.pipeline import train_builtin
    from lab.models.builtin.save import save_builtin

    settings = run.params.base
    torch.set_num_threads(settings.threads)
    config = BuiltinConfig(**settings.model_dump(exclude={"name", "source", "threads"}))
    trained = train_builtin(config, run.work, run.log_metrics)
    save_builtin(trained, config, run.fresh(place))


SOURCES = {"hub": from_hub, "folder": from_folder, "world": from_world}

if __name__ == "__main__":
    main()
