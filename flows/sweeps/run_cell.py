"""Runs one cell: its own stages in a workspace of its own, then an experiment of what they left."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from flows.running.forks import run_dvc
from flows.running.leases import Leases, places
from flows.running.record import Record, recorded
from flows.running.repro import Outcome, Retry, State, dvc_error, environment, reproduce
from flows.running.workspace import workspace
from flows.sweeps import experiments
from flows.sweeps.cells import Cell, cell_name
from lab.params import Params
from runtime.errors import StageError
from runtime.execution.graph import Stage, overlap, stages_of
from runtime.params import read_yaml


@dataclass(frozen=True)
class Source:
    """What the cells of a sweep start from: a commit, and the edits and files that differ from it."""

    commit: str
    diff: bytes | None
    untracked: Path | None


class CellRunner:
    """Runs cells of one sweep in workspaces under `root`. Called from many threads.

    Inputs come from the cache that all workspaces of a machine share, and what a cell leaves is in place there; on
    another machine both go through git and the DVC remote (`flows.machines.remote_cell`).
    """

    def __init__(self, root: Path, sweep: str, source: Source, leases: Leases, params: Params):
        self.stop = threading.Event()
        self.commit = source.commit
        self._root, self._sweep, self._source, self._leases = root, sweep, source, leases
        self._gpu_stages, self._experiment = params.flows.gpu_stages, params.tracking.experiment
        self._retry = Retry(params.flows.retries, params.flows.retry_seconds)
        self._running: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def run(self, cell: Cell, parent: str, on_line: Callable[[str], None]) -> str:
        """Runs the cell; the commit of its experiment.

        Args:
            parent: MLflow run of the sweep.

        Raises:
            StageError: a stage failed, or the sweep was stopped.
        """
        name = f"{self._sweep}-{cell.name}"
        folder = self._root / ".work" / "cells" / name
        tags = {"flow": "cell", "sweep": self._sweep, "cell": cell.name, "cell.label": cell.label}
        with recorded(self._root, self._experiment, cell.label, tags, parent) as record:
            record.params(cell.overrides)
            with workspace(self._root, self._source.commit, folder, self._source.diff, self._source.untracked):
                stages = stages_of(read_yaml(folder / "dvc.yaml"), cell.params)
                own = [stages[one] for one in cell.stages]
                self._prepare(folder, cell, stages)
                for stage in own:
                    self._run_stage(folder, cell, stage, record, on_line)
                if "limit" in cell.overrides:
                    self._keep_images(folder, cell)
                commit = experiments.save(folder, self._source.commit, name, cell.digest)
                self.publish(name)
            record.tag({"dvc.exp_name": name, "dvc.exp_rev": commit})
            record.sum_costs()
            record.end("FINISHED")
        return commit

    def lock(self) -> bytes:
        """The pipeline's `dvc.lock`."""
        return (self._root / "dvc.lock").read_bytes()

    def fetch(self, folder: Path, outs: list[str]) -> None:
        """Brings outputs of the pipeline into the cell's workspace."""
        self.command(folder, "checkout", *outs)

    def restore(self, folder: Path, stage: Stage) -> None:
        """Brings what a stage of the cell left where it ran before on the same inputs: here DVC knows that itself."""

    def keep(self, folder: Path, stage: Stage) -> None:
        """Sends what a finished stage left where others look for it: here it is there."""

    def publish(self, name: str) -> None:
        """Sends the experiment where others look for it: here it is there."""

    def _prepare(self, folder: Path, cell: Cell, stages: Mapping[str, Stage]) -> None:
        """The cell's parameters, the pipeline's record, and what of its outputs the cell's stages read."""
        with (folder / "params.yaml").open("w") as file:
            YAML(typ="safe", pure=True).dump(cell.params, file)
        (folder / "dvc.lock").write_bytes(self.lock())
        own = [stages[name] for name in cell.stages]
        made = {out for stage in own for out in stage.outs}
        read = {dep for stage in own for dep in stage.deps if dep not in made}
        outs = [out for stage in stages.values() for out in stage.outs]
        fetched = [out for out in outs if any(overlap(dep, out) for dep in read) and not (folder / out).exists()]
        if fetched:
            self.fetch(folder, fetched)

    def command(self, folder: Path, *arguments: str) -> None:
        """Runs a command of DVC in the cell's workspace, until the sweep is stopped."""
        done = run_dvc(arguments, cwd=folder, env=environment(folder), stop=self.stop)
        if done.returncode != 0:
            raise StageError(f"`dvc {arguments[0]}` failed in the cell's workspace: {dvc_error(done.lines)}")

    def _run_stage(
        self, folder: Path, cell: Cell, stage: Stage, record: Record, on_line: Callable[[str], None]
    ) -> None:
        program = stage.name.partition("@")[0]
        more = {"TACA_PARENT_RUN_ID": record.id, "MLFLOW_TRACKING_URI": record.uri}
        earlier = self._kept(cell)
        if earlier.exists() and program == "generate":
            more["TACA_EARLIER_IMAGES"] = str(earlier)
        outcome = Outcome(stage.name, State.STOPPED, 0.0)
        # Cells that share a stage, an adapter say, run it once: the others find it in the run-cache.
        with self._alone(stage), self._leases.lease(places(stage), program in self._gpu_stages, self.stop) as place:
            if place is not None:
                self.restore(folder, stage)
                env = environment(folder, **more, **place)
                outcome = reproduce(
                    stage.name, root=folder, env=env, stop=self.stop, retry=self._retry, on_line=on_line
                )
        if outcome.state is State.STOPPED:
            raise StageError(f"stopped in {stage.name}.")
        if outcome.state is State.FAILED:
            raise StageError(outcome.message)
        self.keep(folder, stage)

    def _kept(self, cell: Cell) -> Path:
        """Where the images of this cell's last rung are kept for the next one."""
        settings = {key: value for key, value in cell.overrides.items() if key != "limit"}
        return self._root / ".work" / "sweeps" / f"{self._sweep}-images" / cell_name(settings)

    def _keep_images(self, folder: Path, cell: Cell) -> None:
        kept = self._kept(cell)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder / "results" / "images" / cell.arm, kept, copy_function=os.link)

    @contextmanager
    def _alone(self, stage: Stage) -> Iterator[None]:
        settings = f"{stage.cmd} {sorted(stage.params.items())}"
        with self._guard:
            lock = self._running.setdefault(settings, threading.Lock())
        with lock:
            yield
