"""The run above those of one `dvc repro` that a person started; flows have their own.

The first stage's recorder opens it. It is found again by the boot, the number and the start time of the DVC process,
and led by the recorder of the newest stage, which stays for that after its stage has ended: when DVC has ended too, it
closes the run. DVC's exit status is for its parent alone, so the end is judged by what DVC leaves: a killed one its
locks, a failed one a stage without a finished run, or with one that `dvc.lock` has not recorded.
"""

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from ruamel.yaml import YAML

from runtime.tracking.place import home
from runtime.tracking.store import RunLog
from runtime.tracking.system import BEAT, CLOCK_ERROR, find_process, pid_space

LOOK = 0.5  # seconds between looks


class Above(RunLog):
    """The run above, opened or found; `begin` is a stage's, and has `dvc`: pid, started and command of its process."""

    def __init__(self, begin: Mapping):
        self._dvc = begin["dvc"]
        me = psutil.Process()
        words = self._dvc["command"]
        experiment = {key: value for key, value in begin["tags"].items() if key.startswith("dvc.exp_")}
        # Whatever starts DVC: python, python -m, a script.
        program = next((place for place, word in enumerate(words) if os.path.basename(word) == "dvc"), 0)
        said = words[program + 1 :]
        # An experiment in a temporary workspace: DVC names the repository that it was started in.
        self._apart = home(Path(begin["root"])) != Path(begin["root"]).resolve()
        self._variant = experiment.get("dvc.exp_name", "") if self._apart else ""
        if "exec-run" in said:  # as `dvc queue` starts it
            said = ["exp", "run", experiment["dvc.exp_name"]]
        own = {"name": " ".join(["dvc", *said]), "parent": None, "params": {}, "inputs": []}
        tags = {**experiment, "flow": "dvc", "dvc.process": self._key(), "dvc.started": self._dvc["started"]}
        self._me = {"pid": str(me.pid), "pid.started": str(me.create_time())}
        process = {"pid": me.pid, "pid_started": str(me.create_time())}
        super().__init__({**begin, **own, **process, "tags": tags})

    def see_out(self) -> None:
        """Returns when another recorder leads the run, or, having closed it, when DVC has ended."""
        beaten = time.monotonic()
        while find_process(self._dvc["pid"], self._dvc["started"]):
            time.sleep(LOOK)
            if time.monotonic() - beaten > BEAT:
                with suppress(MlflowException):
                    self.beat()
                beaten = time.monotonic()
            if self._is_anothers():
                return
        if not self._is_anothers():
            self._close()

    def _open(self, begin: Mapping) -> str:
        found = self._client.search_runs([self.experiment_id], f"tags.`dvc.process` = '{self._key()}'")
        for run in found:
            # The boot's time of day, from which start times count, moves with a corrected clock.
            if abs(float(run.data.tags["dvc.started"]) - self._dvc["started"]) < CLOCK_ERROR:
                self.run_id = run.info.run_id
                self.tag(self._me)
                return self.run_id
        return super()._open(begin)

    def _key(self) -> str:
        return f"{pid_space()} {self._dvc['pid']}"

    def _is_anothers(self) -> bool:
        tags = self._client.get_run(self.run_id).data.tags
        return any(tags[key] != value for key, value in self._me.items())

    def _close(self) -> None:
        self.sum_costs()
        self.adopt_description()
        # A temporary workspace goes with its DVC.
        recorded, killed = None if self._apart else self._recorded(), self._was_killed()
        newest = {run.data.tags["stage"]: run for run in sorted(self.children(), key=lambda run: run.info.start_time)}
        failed = [stage for stage, run in newest.items() if not _is_well(run, recorded)]
        if killed or failed:
            why = "dvc was killed" if killed else f"{', '.join(failed)} failed or could not be saved"
            self.end("KILLED" if killed else "FAILED", why)
        else:
            self.end("FINISHED")
            made = {md5 for run in newest.values() for md5 in _outs(run)}
            self.register(made if recorded is None else recorded, self._variant)

    def _was_killed(self) -> bool:
        """Whether DVC's locks still name its process."""
        with suppress(FileNotFoundError):
            locks = (self.root / ".dvc" / "tmp" / "rwlock").read_text()
            return re.search(rf'"pid": {self._dvc["pid"]}\b', locks) is not None
        return False

    def _recorded(self) -> set[str]:
        """Hashes of all outputs that `dvc.lock` has."""
        with suppress(FileNotFoundError):
            stages = YAML(typ="safe", pure=True).load(self.root / "dvc.lock")["stages"]
            return {out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
        return set()


def _is_well(run: Run, recorded: set[str] | None) -> bool:
    return run.info.status == "FINISHED" and (recorded is None or recorded.issuperset(_outs(run)))


def _outs(run: Run) -> list[str]:
    """Hashes of its outputs."""
    return run.data.tags.get("dvc.outs", "").split()
