"""A cell on another machine, which shares nothing with the one that asks but git, the DVC remote and MLflow.

`TACA_WORKER_HOME` (`~/.taca-worker`) holds a clone of each commit and one DVC cache for all of them.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from flows.running.leases import Leases
from flows.settings import machine
from flows.sweeps.cells import Cell
from flows.sweeps.job import Job
from flows.sweeps.run_cell import CellRun
from runtime.tracking.git import git


def run_remote_cell(spec: Mapping, on_line: Callable[[str], None] = print) -> str:
    """Runs the cell of a specification on this machine; the commit of its experiment, which it has pushed.

    Raises:
        StageError: a stage failed, or the commit, the data or MLflow cannot be reached from here.
        ConnectionError: a stage failed by something that passes.
    """
    job = Job(**{**spec["job"], "cell": Cell(**spec["job"]["cell"])})
    home = Path(os.environ.get("TACA_WORKER_HOME") or Path.home() / ".taca-worker").absolute()
    home.mkdir(parents=True, exist_ok=True)
    # MLflow where this machine's environment says that it is, or else where the sweep's machine reaches it.
    os.environ.setdefault("MLFLOW_TRACKING_URI", spec["tracking"])
    with FileLock(home / f"{job.commit}.lock"):
        root = _clone(home, job.commit, spec["repository"], spec["remote"])
    leases = Leases(machine(root).model_copy(update=spec["machine"]))
    with FileLock(home / f"{job.name}.lock"):  # a cell that was given up here may still be ending
        return CellRun(root, job, leases, on_line, spec["repository"])()


def _clone(home: Path, commit: str, repository: str, remote: Mapping) -> Path:
    """The clone of a commit, made once, with this machine's cache and the sweep's remote."""
    from dvc.config import Config

    place = home / "commits" / commit
    if not place.exists():
        begun = place.with_suffix(".begun")
        shutil.rmtree(begun, ignore_errors=True)  # by a process that was killed
        begun.mkdir(parents=True)
        git(begun, "init", "--quiet")
        fault = "This machine cannot get the sweep's commit from machine.yaml: `repository`"
        git(begun, "fetch", "--quiet", "--depth", "1", repository, commit, fault=fault)
        git(begun, "checkout", "--quiet", "--detach", commit)
        begun.rename(place)
    with Config(str(place / ".dvc")).edit("local") as config:
        config["cache"] = {"dir": str(home / "cache")}
        config["remote"] = {"shared": dict(remote)}
        config["core"] = {"remote": "shared"}
    return place
