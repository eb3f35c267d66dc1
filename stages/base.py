"""Stage `base`: the base pipeline; the built-in one is committed, and `make base` alone trains it."""

import os
import shutil
import sys

from lab.errors import LabError
from lab.params import load
from runtime.execution import stage

TRAIN = "TACA_TRAIN_BASE"  # set by `make base`: half an hour of work is not what `dvc repro` starts by itself


def main() -> None:
    with stage("base", sys.argv[1:], load, (LabError,)) as run:
        place = f"models/base/{run.params.base.name}"
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


if __name__ == "__main__":
    main()
