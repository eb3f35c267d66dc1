"""`with stage("generate", sys.argv[1:], load) as run:` makes a program a stage: inputs, work, outputs and record.

Leaving the block without an error puts every output of `dvc.yaml` into place, whole. Leaving it with one, or being
killed in it, leaves none, keeps the work folder, and the next execution on the same inputs finds that.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from runtime.errors import StageError
from runtime.execution import faults
from runtime.execution.execution import Execution
from runtime.execution.graph import Stage, read_recorded, read_stages
from runtime.execution.watch import stoppable
from runtime.threads import quiet_waiting
from runtime.tracking import Recorder, check_answers, tracking_uri
from runtime.tracking.git import odd_checkout


class Run:
    """What a stage's program sees: `params`, its `key` (None without one), its `name` and its `work` folder."""

    def __init__(self, params: Any, key: str | None, execution: Execution):
        self.params = params
        self.key = key
        self.name = execution.stage.name
        self.work = execution.work.folder
        self._execution = execution

    def fresh(self, path: str) -> Path:
        """Where to build the output that `dvc.yaml` calls `path`; a killed execution may have left part of it there.

        Raises:
            StageError: `dvc.yaml` lists no such output.
        """
        outs = self._execution.stage.outs
        if path not in outs:
            raise StageError(f"{path} is not an output in dvc.yaml, which lists {', '.join(outs)}; correct either.")
        place = self._execution.work.fresh(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def is_recorded(self, path: str) -> bool:
        """Whether the output in place is the one that `dvc.lock` has for these very inputs."""
        execution = self._execution
        fingerprint, outs = read_recorded(execution.root).get(self.name, ("", {}))
        made = fingerprint == execution.fingerprint and (execution.root / path).exists()
        return made and outs.get(path) == execution.hasher(path).md5

    def dep_hash(self, path: str) -> str:
        """DVC's hash of a dependency that `dvc.yaml` lists."""
        return self._execution.deps[path].md5

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Adds one point to each metric's curve in MLflow."""
        values = {key: float(value) for key, value in metrics.items()}
        self._execution.recorder.tell("add_metrics", values=values, step=step, time_ms=int(time.time() * 1000))

    def log_params(self, params: Mapping[str, object]) -> None:
        """Notes parameters under names of their own, beside those of `params.yaml`."""
        self._execution.recorder.tell("log_params", params=dict(params))

    def log_result(self, name: str, params: Mapping[str, object], metrics: Mapping[str, float]) -> None:
        """Adds a run below this one that holds the results of what is called so."""
        self._execution.recorder.tell("add_result", name=name, params=params, metrics=metrics)

    def present(self, text: str, view: Mapping) -> None:
        """Describes the run in Markdown, where `artifact:PATH` is an artifact's address, and keeps a view of results.

        See `runtime.comparing.pages`.
        """
        self._execution.recorder.tell("present", text=text, view=view)

    def log_model(self, path: str, card: str) -> None:
        """Has MLflow store the output that `dvc.yaml` calls `path` as a model, with its card in Markdown."""
        self._execution.work.keep_card(path, card)

    def log_artifact(self, path: str | Path, folder: str = "") -> None:
        """Stores a copy of the file as it is now in the MLflow run."""
        copy = Path(mkdtemp(prefix="artifact-", dir=self.work), Path(path).name)
        shutil.copyfile(path, copy)
        self._execution.recorder.tell("take_artifact", path=str(copy), folder=folder)

    def log_input(self, name: str, path: str | Path) -> None:
        """Notes in MLflow that the stage reads data from outside the pipeline, such as a user's folder."""
        entry = self._execution.input(name, str(path), self._execution.hasher(str(path)))
        self._execution.recorder.tell("log_inputs", inputs=[entry])

    def log_hosted_input(self, name: str, address: str, digest: str) -> None:
        """Notes in MLflow that the stage reads data that others host; `digest` says which state of them."""
        # MLflow takes no more than 36 characters, and a commit has 40.
        entry = {"name": name, "path": address, "md5": digest[:36], "hosted": True}
        self._execution.recorder.tell("log_inputs", inputs=[entry])


@contextmanager
def stage(
    program: str, argv: Sequence[str], load: Callable[[], Any], known: tuple[type[Exception], ...] = ()
) -> Iterator[Run]:
    """Runs the block as stage `program` of `dvc.yaml`, or `program@key` when `argv` holds a key.

    Known faults end the process with one sentence and status 1, a signal with 128 and its number.

    Args:
        load: reads and checks the parameters, whose `experiment` is the one in MLflow that runs go to.
        known: exceptions of the packages that the block calls which say by themselves what to do. Where one names an
            `argument`, that is taken for a key of the params section that is called as the program is.
    """
    name = "@".join([program, *argv])
    os.environ.update(quiet_waiting())
    # Arrow's own allocator keeps what a table of many rows has taken once: 37 MB more for one of 30,000 images.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with faults.told(name, known):
        _check_alone()
        root = Path.cwd()
        params = load()
        stages = read_stages(root)
        if {"-h", "--help"} & set(argv):
            print(_usage(stages, program))
            sys.exit(0)
        if name not in stages:
            raise StageError(_usage(stages, program))
        check_answers(tracking_uri(root), params.experiment)
        if odd := odd_checkout(root):
            print(f"{name}: {odd}", file=sys.stderr)
        recorder = Recorder(root)
        with stoppable(recorder.failure):
            execution = Execution(root, stages[name], stages, recorder, known)
            with execution.running(params.experiment) as finished:
                if not finished:
                    yield Run(params, argv[0] if argv else None, execution)
        if finished:
            print(f"{name}: its outputs were finished before; they are in place now.")
            sys.exit(0)  # the block has nothing left to do


def _check_alone() -> None:
    """Refuses a launcher of several processes: each would do the whole work, and wait for the others' lock."""
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if processes > 1:
        raise StageError(
            f"it is one process on one device, but WORLD_SIZE says that there are {processes}: start it without a "
            "launcher, and use more GPUs by `make flow`, which runs one stage on each."
        )


def _usage(stages: Mapping[str, Stage], program: str) -> str:
    keys = [key for found, _, key in (name.partition("@") for name in stages) if found == program]
    if not keys:
        return f"dvc.yaml has no such stage; its stages are {', '.join(stages)}."
    usage = f"python -m stages.{program}" + (f" KEY` with KEY one of {', '.join(keys)}" if any(keys) else "`")
    return f"run it as `{usage}, or as `dvc repro {program}`, which also runs what it depends on."
