"""A cell on another machine, which shares nothing with the one that asks but git, the DVC remote and MLflow.

`TACA_WORKER_HOME` (`~/.taca-worker`) holds a clone of each commit and one DVC cache for all of them.
"""

import base64
import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from flows.machines import exchange
from flows.running.leases import Leases, gpus
from flows.running.process import end_noted
from flows.sweeps import experiments
from flows.sweeps.cells import Cell
from flows.sweeps.run_cell import CellRunner, Source
from lab.params import Params, validate
from runtime.errors import StageError
from runtime.execution.graph import Stage


def specification(
    cell: Cell, *, sweep: str, parent: str, source: Source, repository: str, lock: str, remote: Mapping, tracking: str
) -> dict:
    """All that another machine has to know of a cell, as JSON can say it.

    Args:
        parent: MLflow run of the sweep.
        lock: the pipeline's `dvc.lock`.
        remote: the settings of the DVC remote, but for passwords.
        tracking: MLflow's address without a password.
    """
    return {
        "cell": asdict(cell),
        "sweep": sweep,
        "parent": parent,
        "commit": source.commit,
        "diff": base64.b64encode(source.diff).decode() if source.diff else None,
        "repository": repository,
        "lock": lock,
        "remote": dict(remote),
        "tracking": tracking,
    }


def run_remote_cell(spec: dict, on_line: Callable[[str], None] = print) -> str:
    """Runs the cell of a specification on this machine; the commit of its experiment, which it has pushed.

    Raises:
        StageError: a stage failed, or the commit, the data or MLflow cannot be reached from here.
    """
    cell = Cell(**{**spec["cell"], "stages": tuple(spec["cell"]["stages"]), "shared": tuple(spec["cell"]["shared"])})
    params = validate(cell.params, f"cell {cell.label}")
    root = _clone(spec["repository"], spec["commit"], spec["remote"])
    with _tracking(spec["tracking"]), _alone(root, f"{spec['sweep']}-{cell.name}"):
        return RemoteRunner(root, spec, params).run(cell, spec["parent"], on_line)


class RemoteRunner(CellRunner):
    """Gets inputs from the DVC remote, and sends there and to git what a cell leaves."""

    def __init__(self, root: Path, spec: dict, params: Params):
        diff = base64.b64decode(spec["diff"]) if spec["diff"] else None
        leases = Leases(params.flows.workers, gpus())
        super().__init__(root, spec["sweep"], Source(spec["commit"], diff, None), leases, params)
        self._clone, self._spec = root, spec

    def lock(self) -> bytes:
        return self._spec["lock"].encode()

    def fetch(self, folder: Path, outs: list[str]) -> None:
        self.command(folder, "pull", *outs)

    def restore(self, folder: Path, stage: Stage) -> None:
        exchange.restore(folder, stage.name)

    def keep(self, folder: Path, stage: Stage) -> None:
        exchange.push(folder, [stage.name])

    def publish(self, name: str) -> None:
        experiments.publish(self._clone, self._spec["repository"], self._spec["commit"], name)


def home() -> Path:
    """Where this machine keeps clones and the cache; each node of a cluster may have its own."""
    return Path(os.environ.get("TACA_WORKER_HOME") or Path.home() / ".taca-worker").absolute()


def _clone(repository: str, commit: str, remote: Mapping) -> Path:
    """The clone of a commit, made once, with this machine's cache and the sweep's remote."""
    place = home() / "commits" / commit
    with _locked(home() / "locks" / f"{commit}.lock"):
        if not place.exists():
            begun = place.with_suffix(".begun")
            shutil.rmtree(begun, ignore_errors=True)  # by a process that was killed
            _git("init", "--quiet", str(begun))
            _git("-C", str(begun), "fetch", "--quiet", "--depth", "1", repository, commit)
            _git("-C", str(begun), "checkout", "--quiet", "--detach", commit)
            begun.rename(place)
        _configure(place, remote)
    return place


def _configure(place: Path, remote: Mapping) -> None:
    from dvc.config import Config

    with Config(str(place / ".dvc")).edit("local") as config:
        config["cache"] = {"dir": str(home() / "cache")}
        config["remote"] = {"shared": dict(remote)}
        config["core"] = {"remote": "shared"}


@contextmanager
def _alone(root: Path, name: str) -> Iterator[None]:
    """Waits for the cell's workspace and holds it; what a killed process has left running in it is ended first."""
    with _locked(root / ".work" / "locks" / f"{name}.lock"):
        for note in (root / ".work" / "cells" / name / ".work" / "groups").glob("*.txt"):
            end_noted(note)
        yield


@contextmanager
def _tracking(uri: str) -> Iterator[None]:
    """MLflow where this machine's environment says that it is, or else where the sweep's machine reaches it."""
    own = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = own or uri
    try:
        yield
    finally:
        if own is None:
            del os.environ["MLFLOW_TRACKING_URI"]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["git said nothing"]
        raise StageError(f"This machine cannot get the sweep's commit from `flows.repository` ({said[-1]}).")
