"""One stage by `dvc repro -s`: what DVC did with it, and, if it failed, whether trying again can help."""

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from flows.running.forks import run_dvc
from runtime.execution.faults import read_failure


class State(StrEnum):
    """What became of a stage."""

    RAN = "ran"
    CACHED = "cached"  # DVC found it unchanged
    RESTORED = "restored"  # DVC had run it on the same inputs before
    FAILED = "failed"
    STOPPED = "stopped"


class Fault(StrEnum):
    """Why it failed: only the first passes by itself."""

    TRANSIENT = "transient"
    PARAMS = "params"
    DISK = "disk"
    OTHER = "other"


# DVC's own words for faults that pass.
_BUSY = ("Unable to acquire lock", "is busy, it is being blocked by")


# DVC locks a workspace while it reads it, and who finds it locked waits half a second: better to come one by one.
_ENTRY = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """What became of a stage, in how many seconds and attempts, and, if it failed, why."""

    stage: str
    state: State
    seconds: float
    attempts: int = 1
    fault: Fault | None = None
    message: str = ""


@dataclass(frozen=True)
class Retry:
    """How often a fault that passes is tried again, and after how many seconds at first; each wait is twice as long."""

    times: int
    seconds: float


def reproduce(
    stage: str,
    *,
    root: Path,
    env: Mapping[str, str],
    stop: threading.Event,
    retry: Retry,
    on_line: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Runs one stage in the DVC repository at `root`, again while that can help, until `stop` is set."""
    for attempt in range(1, retry.times + 2):
        outcome = replace(_once(stage, root, env, stop, on_line), attempts=attempt)
        if outcome.fault is not Fault.TRANSIENT or attempt > retry.times:
            return outcome
        # Not all at once: who was refused together asks again at different times.
        wait = retry.seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
        on_line(f"{stage}: {outcome.message} Trying again in {wait:.0f} s ({attempt} of {retry.times}).")
        if stop.wait(wait):
            return replace(outcome, state=State.STOPPED)
    raise AssertionError("unreachable")


def environment(root: Path, **more: str) -> dict[str, str]:
    """For commands in `root`: this environment's programs first, an absolute store, no telemetry."""
    from runtime.tracking import tracking_uri

    quiet = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # A stage must not resume, and at its end close, a run that someone else has opened.
    inherited = {key: value for key, value in os.environ.items() if key != "MLFLOW_RUN_ID"}
    # The code of this workspace, also where another one is what was installed.
    python = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return {**inherited, **quiet, "PATH": path, "PYTHONPATH": python, "MLFLOW_TRACKING_URI": tracking_uri(root), **more}


def dvc_error(lines: Sequence[str]) -> str:
    """What of the lines that a command of DVC has said names its fault."""
    said = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return next(iter([*said, *lines[-1:], "dvc said nothing."]))


def _once(
    stage: str, root: Path, env: Mapping[str, str], stop: threading.Event, on_line: Callable[[str], None]
) -> Outcome:
    if stop.is_set():
        return Outcome(stage, State.STOPPED, 0.0)
    began = time.monotonic()
    note = root / ".work" / "groups" / f"{stage.replace('@', '-')}.txt"
    with _entering(on_line) as heard:
        finished = run_dvc(["repro", "-s", stage], cwd=root, env=env, stop=stop, on_line=heard, note=note)
    seconds = time.monotonic() - began
    if finished.stopped:
        return Outcome(stage, State.STOPPED, seconds)
    text = "\n".join(finished.lines)
    if finished.returncode == 0:
        return Outcome(stage, _state(stage, text), seconds)
    fault, message = _fault(stage, root, finished.lines)
    return Outcome(stage, State.FAILED, seconds, fault=fault, message=message)


@contextmanager
def _entering(on_line: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Holds back other starts until the command inside has said its first line, which comes when DVC has read all."""
    _ENTRY.acquire()
    inside = [True]

    def leave() -> None:
        if inside:
            inside.clear()
            _ENTRY.release()

    def heard(line: str) -> None:
        leave()
        on_line(line)

    try:
        yield heard
    finally:
        leave()


def _state(stage: str, text: str) -> State:
    if f"Stage '{stage}' didn't change, skipping" in text:
        return State.CACHED
    if f"Stage '{stage}' is cached" in text:
        return State.RESTORED
    return State.RAN


def _fault(stage: str, root: Path, lines: tuple[str, ...]) -> tuple[Fault, str]:
    """By the stage's own note, since DVC hides its exit code; by DVC's words where the stage did not begin."""
    failure = read_failure(root, stage)
    if failure is not None:
        return Fault(failure["class"]), failure["message"]
    message = dvc_error(lines)
    return (Fault.TRANSIENT if any(word in message for word in _BUSY) else Fault.OTHER), message
