"""Runs one cell: its own stages in a workspace of its own, then an experiment of what they left."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from flows import experiments
from flows.cells import Cell
from flows.leases import Leases
from flows.process import run
from flows.record import Record, recorded
from flows.repro import Outcome, Retry, State, dvc, environment, reproduce
from flows.workspace import workspace
from taca.errors import StageError
from taca.execution.graph import overlap, stages_of
from taca.params import load, read_yaml


@dataclass(frozen=True)
class Source:
    """What the cells of a sweep start from: a commit, and the edits and files that differ from it."""

    commit: str
    diff: bytes | None
    untracked: Path | None


class CellRunner:
    """Runs cells of one sweep in workspaces under `root`. Called from many threads."""

    def __init__(self, root: Path, sweep: str, source: Source, leases: Leases):
        params = load(root / "params.yaml")
        self.stop = threading.Event()
        self.commit = source.commit
        self._root, self._sweep, self._source, self._leases = root, sweep, source, leases
        self._gpu_stages, self._experiment = params.flows.gpu_stages, params.tracking.experiment
        self._retry = Retry(params.flows.retries, params.flows.retry_seconds)
        self._outputs = {
            out: None
            for stage in stages_of(read_yaml(root / "dvc.yaml"), read_yaml(root / "params.yaml")).values()
            for out in stage.outs
        }
        self._running: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def run(self, cell: Cell, parent: str, earlier: Path | None, on_line: Callable[[str], None]) -> str:
        """Runs the cell; the commit of its experiment.

        Args:
            parent: MLflow run of the sweep.
            earlier: images of the same cell with fewer prompts, to be taken over.

        Raises:
            StageError: a stage failed, or the sweep was stopped.
        """
        folder = self._root / ".work" / "cells" / f"{self._sweep}-{cell.name}"
        tags = {"flow": "cell", "sweep": self._sweep, "cell": cell.name, "cell.label": cell.label}
        with recorded(self._root, self._experiment, cell.label, tags, parent) as record:
            record.params(cell.overrides)
            with workspace(self._root, self._source.commit, folder, self._source.diff, self._source.untracked):
                self._prepare(folder, cell)
                for stage in cell.stages:
                    self._run_stage(folder, cell, stage, record, earlier, on_line)
                commit = experiments.save(folder, self._source.commit, f"{self._sweep}-{cell.name}", cell.digest)
            record.tag({"dvc.exp_name": f"{self._sweep}-{cell.name}", "dvc.exp_rev": commit})
            record.sum_costs()
            record.end("FINISHED")
        return commit

    def _prepare(self, folder: Path, cell: Cell) -> None:
        """The cell's parameters, the pipeline's record, and what of its outputs the cell's stages read."""
        with (folder / "params.yaml").open("w") as file:
            YAML(typ="safe", pure=True).dump(cell.params, file)
        (folder / "dvc.lock").write_bytes((self._root / "dvc.lock").read_bytes())
        stages = stages_of(read_yaml(folder / "dvc.yaml"), cell.params)
        made = {out for name in cell.stages for out in stages[name].outs}
        read = {dep for name in cell.stages for dep in stages[name].deps if dep not in made}
        fetched = [
            out for out in self._outputs if any(overlap(dep, out) for dep in read) and not (folder / out).exists()
        ]
        if fetched:
            self._command(folder, "checkout", *fetched)

    def _command(self, folder: Path, *arguments: str) -> None:
        done = run([dvc(), "--wait-for-lock", *arguments], cwd=folder, env=environment(folder), stop=self.stop)
        if done.returncode != 0:
            said = [line for line in done.lines if line.startswith("ERROR")] or list(done.lines[-1:]) or [""]
            raise StageError(f"`dvc {arguments[0]}` failed in the cell's workspace: {said[0].removeprefix('ERROR: ')}")

    def _run_stage(
        self, folder: Path, cell: Cell, stage: str, record: Record, earlier: Path | None, on_line: Callable[[str], None]
    ) -> None:
        more = {"TACA_PARENT_RUN_ID": record.id, "MLFLOW_TRACKING_URI": record.uri}
        if earlier is not None and stage.startswith("generate@"):
            more["TACA_EARLIER_IMAGES"] = str(earlier)
        # Cells that share a stage, an adapter say, run it once: the others find it in the run-cache.
        with (
            self._alone(cell, stage, folder),
            self._leases.lease(stage.partition("@")[0] in self._gpu_stages, self.stop) as place,
        ):
            outcome = (
                reproduce(
                    stage,
                    root=folder,
                    env=environment(folder, **more, **place),
                    stop=self.stop,
                    retry=self._retry,
                    on_line=on_line,
                )
                if place is not None
                else Outcome(stage, State.STOPPED, 0.0)
            )
        if outcome.state is State.STOPPED:
            raise StageError(f"{cell.label}: stopped in {stage}.")
        if outcome.state is State.FAILED:
            raise StageError(f"{cell.label}: {outcome.message}")

    @contextmanager
    def _alone(self, cell: Cell, stage: str, folder: Path) -> Iterator[None]:
        program, _, key = stage.partition("@")
        settings = cell.params.get("adapters", {}).get(key) if program == "train" else cell.overrides
        with self._guard:
            lock = self._running.setdefault(f"{stage} {settings}", threading.Lock())
        with lock:
            yield
