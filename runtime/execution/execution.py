"""One execution of a stage: what it reads, where it works, what it leaves, and what MLflow is told of it."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from traceback import format_exception

import psutil

from runtime.errors import StageError
from runtime.execution import faults
from runtime.execution.cost import costs, device, gpus_used, peaks
from runtime.execution.graph import Stage, overlap
from runtime.execution.hashes import Hashed, Hasher, missing
from runtime.execution.watch import Stopped, launcher
from runtime.execution.work import Work, drop_recorded
from runtime.tracking import Recorder, tracking_uri
from runtime.tracking.place import is_remote

WORK = "TACA_WORK"  # where stages of this workspace work, if not in its own `.work`
PARENT = "TACA_PARENT_RUN_ID"  # the MLflow run of the flow, cell or rebuild that runs this stage
PRICE = "TACA_GPU_HOUR_PRICE"  # whoever runs stages says what an hour of a GPU costs here
TRACEBACK_CHARACTERS = 4000
# Tags of a stage that is part of an experiment, and where DVC says which.
EXPERIMENT = {"dvc.exp_name": "DVC_EXP_NAME", "dvc.exp_baseline": "DVC_EXP_BASELINE_REV"}


class Execution:
    """One execution of `stage` in `root`; `stages` is the whole pipeline, `known` as `running.stage` has it."""

    def __init__(
        self,
        root: Path,
        stage: Stage,
        stages: Mapping[str, Stage],
        recorder: Recorder,
        known: tuple[type[Exception], ...],
    ):
        self.stage = stage
        self.recorder = recorder
        self.root = root
        self._made = [out for each in stages.values() for out in each.outs]
        self._read = [dep for each in stages.values() for dep in each.deps]
        self._known = known
        self.hasher = Hasher(root)
        # Of a folder of a hundred thousand images, the list of files would stay in memory as long as the stage runs.
        self.deps = {path: replace(self.hasher(path), files=()) for path in stage.deps}
        self.fingerprint = stage.fingerprint({path: found.md5 for path, found in self.deps.items()})
        work = Path(os.environ.get(WORK) or root / ".work").resolve()
        self.work = Work(work, stage.name, self.fingerprint)
        self._owns_work = work == (root / ".work").resolve()  # else who does drops what is recorded

    @contextmanager
    def running(self, experiment: str) -> Iterator[bool]:
        """Opens work folder and MLflow run, and closes both by what the block does: publishes, or aborts on an error.

        Yields whether the outputs are finished already, so that nothing but publishing is left to do.
        """
        if self._owns_work:
            # Of this stage too: DVC would not have run it again without being forced to.
            drop_recorded(self.root, self.work.folder.parent)
        with self.work.alone():
            self._started = time.time()
            finished = self.work.finished() is not None
            try:
                self._begin(experiment, finished)
                yield finished
                self._conclude()
            except BaseException as error:
                cause = self._gone(error) or faults.named(error, self.root, self._known)
                self._abort(cause)
                if cause is error:
                    raise
                raise cause from error

    def _begin(self, experiment: str, finished: bool) -> None:
        uri = tracking_uri(self.root)
        self.recorder.tell(
            "begin",
            uri=uri,
            root=str(self.root),
            experiment=experiment,
            name=self.stage.name,
            parent=os.environ.get(PARENT),
            dvc=self._dvc(),
            pid=os.getpid(),
            pid_started=str(psutil.Process().create_time()),
            start_ms=int(self._started * 1000),
            params=dict(_flat(self.stage.params)),
            tags={
                "stage": self.stage.name,
                "cmd": self.stage.cmd,
                "resumed_finished_work": str(finished).lower(),
                "mlflow.source.name": sys.argv[0],
                "mlflow.source.type": "LOCAL",
                **{tag: os.environ[name] for tag, name in EXPERIMENT.items() if name in os.environ},
                **{f"dvc.dep.{path}": found.md5 for path, found in self.deps.items()},
            },
            inputs=self._inputs(),
            pipeline_outs=self._made,
        )
        if is_remote(uri):  # and may refuse: better before the work than after it
            self.recorder.ask("flush")

    def _conclude(self) -> None:
        for path in self.stage.outs:
            if not self.work.fresh(path).exists():
                raise StageError(f"the program did not write its output {path}; correct it, or `outs` in dvc.yaml.")
        for path in self.stage.outs:
            self.work.open_to_others(path)
        built = {path: self.hasher(path, self.work.fresh(path)) for path in self.stage.outs}
        self.work.finish({path: found.md5 for path, found in built.items()})
        outs = [
            {"path": path, "content": str(self.work.fresh(path)), "card": self.work.card(path), **asdict(found)}
            for path, found in built.items()
        ]
        metrics = {"system/wall_seconds": time.time() - self._started, **peaks(), **self._costs()}
        self.recorder.ask("log_outs", outs=outs, tags={"device": device()}, metrics=metrics)
        self.work.drop_all_but_outs()
        for path in self.stage.outs:
            self.work.publish(self.root, path)
        self.recorder.ask("end", status="FINISHED", message="")
        if self._owns_work and not any(overlap(dep, out) for dep in self._read for out in self.stage.outs):
            self.work.forget()  # no later stage would

    def _abort(self, error: BaseException) -> None:
        self.work.release_reserve()
        status = "KILLED" if isinstance(error, Stopped) else "FAILED"
        said = faults.sentence(error, self.stage.name)
        if not faults.is_known(error, self._known):
            said = "".join(format_exception(error))[-TRACEBACK_CHARACTERS:]
        self.recorder.abort(status, said, self._costs())

    def _gone(self, error: BaseException) -> StageError | None:
        """Says so where `error` is that part of a dependency is not there, such as one file of a folder."""
        if not isinstance(error, FileNotFoundError) or error.filename is None:
            return None
        path = os.path.relpath(error.filename, self.root)
        return missing(path) if any(overlap(path, dep) for dep in self.deps) else None

    def _costs(self) -> dict[str, float]:
        return costs(time.time() - self._started, gpus_used(), float(os.environ.get(PRICE, 0)))

    def _dvc(self) -> dict[str, object] | None:
        """The DVC that started this stage, unless a run that stands above is there already."""
        dvc = None if PARENT in os.environ else launcher()
        return dvc and {"pid": dvc.pid, "started": dvc.create_time(), "command": dvc.cmdline()}

    def _inputs(self) -> list[dict[str, object]]:
        """Dependencies that another stage made: data, where the others are code."""
        data = (path for path in self.stage.deps if any(overlap(path, out) for out in self._made))
        return [self.input(path, path, self.deps[path]) for path in data]

    def input(self, name: str, path: str, found: Hashed) -> dict[str, object]:
        """What the recorder is told of data: MLflow's context is the program that reads it."""
        context = self.stage.name.partition("@")[0]
        return {"name": name, "path": path, "md5": found.md5, "size": found.size, "context": context}


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys and plain values of nested mappings."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
