"""Runs one cell: its own stages in a workspace of its own, then an experiment of what they left.

This machine's cells and those that a machine elsewhere runs for it differ in where inputs come from and results go:
the cache that workspaces share, or the DVC remote and git.
"""

import base64
import os
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from flows.running.graph import CHECK
from flows.running.leases import Leases
from flows.running.process import end_left
from flows.running.record import Record, recorded
from flows.running.repository import dvc
from flows.running.repro import Fault, State
from flows.running.workspace import workspace
from flows.sweeps import experiments
from flows.sweeps.job import Job
from lab.params.variation import OWN
from runtime.errors import StageError
from runtime.execution.execution import EXPERIMENT, WORK
from runtime.execution.graph import Stage, read_recorded, read_stages
from runtime.execution.work import drop_recorded

IMAGES = f"results/images/{OWN}"
EARLIER = "earlier"  # in the cell's workspace: images of its last rung


class CellRun:
    """One cell in a workspace below `root`, a repository or a clone of it.

    Args:
        repository: where a machine that is not the sweep's leaves the experiment, having got its inputs from the DVC
            remote and left its outputs there; None here.
    """

    def __init__(
        self, root: Path, job: Job, leases: Leases, on_line: Callable[[str], None], repository: str | None = None
    ):
        self._root, self._job, self._leases, self._on_line = root, job, leases, on_line
        self._repository = repository
        self._work = Path(os.environ.get(WORK, root / ".work"))
        self._folder = root / ".work" / "cells" / job.name

    def __call__(self) -> str:
        """Runs the cell; the commit of its experiment.

        Raises:
            StageError: a stage failed, or the sweep was stopped.
            ConnectionError: a stage failed by something that passes.
        """
        job, cell, folder = self._job, self._job.cell, self._folder
        for note in (self._work / "groups").glob(f"{job.name}-*.txt"):
            end_left(note)  # of a process that was killed
        tags = {"flow": "cell", "sweep": job.sweep, "cell": cell.name, "cell.label": cell.label, **self._experiment()}
        with recorded(self._root, job.experiment, cell.name, tags, job.parent) as record:
            record.log_params(cell.overrides)
            with workspace(self._root, job.commit, folder, base64.b64decode(job.diff)):
                self._prepare()
                # That of the parameters too: with the experiment applied, `dvc repro` has nothing to run.
                stages = [read_stages(folder)[name] for name in (CHECK, *cell.stages)]
                for stage in stages:
                    self._run_stage(stage, record)
                commit = self._save([out for stage in stages for out in stage.outs])
                made = read_recorded(folder)
            # Those of stages that cells share are the sweep's.
            record.register({md5 for name in job.cell.stages for md5 in made[name][1].values()}, job.name)
            record.belongs(job.name, commit)
            record.sum_costs()
            record.end("FINISHED")
        return commit

    def _experiment(self) -> dict[str, str]:
        """The tags by which runs say which experiment they belong to."""
        return {"dvc.exp_name": self._job.name, "dvc.exp_baseline": self._job.commit}

    def _prepare(self) -> None:
        """Puts parameters, records and inputs into the workspace."""
        job, folder = self._job, self._folder
        with (folder / "params.yaml").open("w") as file:
            YAML(typ="safe", pure=True).dump(job.cell.params, file)
        for path, text in {"dvc.lock": job.lock, **job.metrics}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        inputs = [*job.cell.reads, *([IMAGES] if job.earlier else [])]
        missing = [path for path in inputs if not (folder / path).exists()]
        if missing:
            dvc(folder, "pull" if self._repository else "checkout", *missing, stop=self._leases.stop)
        if job.earlier:
            (folder / IMAGES).rename(folder / EARLIER)

    def _run_stage(self, stage: Stage, record: Record) -> None:
        env = {"TACA_PARENT_RUN_ID": record.run_id, "MLFLOW_TRACKING_URI": record.uri}
        env |= {EXPERIMENT[tag]: value for tag, value in self._experiment().items()}
        env[WORK] = str(self._work.absolute())  # what it leaves unfinished outlives the workspace
        if self._job.earlier:
            env["TACA_EARLIER_IMAGES"] = str(self._folder / EARLIER)
        # Another machine may have run it on the same inputs.
        options = ["--pull"] if self._repository else []
        outcome = self._leases.run(stage, self._folder, env, self._on_line, options)
        if outcome.state is State.STOPPED:
            raise StageError(f"stopped in {stage.name}.")
        if outcome.state is State.FAILED:
            raise (ConnectionError if outcome.fault is Fault.TRANSIENT else StageError)(outcome.message)
        if self._repository:
            dvc(self._folder, "push", "--run-cache", stage.name, stop=self._leases.stop)

    def _save(self, made: list[str]) -> str:
        job = self._job
        metrics = [*job.metrics, *(out for out in made if out.startswith(experiments.METRICS))]
        message = f"taca-cell {job.cell.digest} {job.name}"
        commit = experiments.save(self._folder, job.commit, job.name, message, metrics)
        if self._repository:
            experiments.publish(self._folder, self._repository, job.commit, job.name)
        drop_recorded(self._folder, self._work)
        return commit
