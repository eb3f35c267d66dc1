"""One stage by `dvc repro -s`: what DVC did with it, and, if it failed, whether trying again can help."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from flows.running.process import run
from flows.running.repository import DVC, dvc_error
from runtime.execution.faults import read_failure

# DVC's own words for faults that pass.
_BUSY = ("Unable to acquire lock", "is busy, it is being blocked by")


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


@dataclass(frozen=True)
class Outcome:
    """What became of a stage, in how many seconds, and, if it failed, why."""

    stage: str
    state: State
    seconds: float = 0.0
    fault: Fault | None = None
    message: str = ""


def reproduce(
    stage: str,
    *,
    root: Path,
    env: Mapping[str, str],
    stop: threading.Event,
    on_line: Callable[[str], None] = lambda line: None,
    options: Sequence[str] = (),
) -> Outcome:
    """Runs one stage in the DVC repository at `root`, until `stop` is set; `options` are more of `dvc repro`."""
    if stop.is_set():
        return Outcome(stage, State.STOPPED)
    began = time.monotonic()
    # Where the next flow of the repository looks for what this one may leave, also in the workspace of a cell.
    work = Path(env.get("TACA_WORK", root / ".work"))
    name = stage if work.parent == root else f"{root.name}-{stage}"
    note = work / "groups" / f"{name.replace('@', '-')}.txt"
    finished = run([*DVC, "repro", *options, "-s", stage], cwd=root, env=env, stop=stop, on_line=on_line, note=note)
    seconds = time.monotonic() - began
    if finished.stopped:
        return Outcome(stage, State.STOPPED, seconds)
    if finished.returncode == 0:
        return Outcome(stage, _state(stage, "\n".join(finished.lines)), seconds)
    return Outcome(stage, State.FAILED, seconds, *_fault(stage, root, finished.lines))


def _state(stage: str, text: str) -> State:
    if f"Stage '{stage}' didn't change, skipping" in text:
        return State.CACHED
    return State.RESTORED if f"Stage '{stage}' is cached" in text else State.RAN


def _fault(stage: str, root: Path, lines: tuple[str, ...]) -> tuple[Fault, str]:
    """By the stage's own note, since DVC hides its exit code; by DVC's words where the stage did not begin."""
    failure = read_failure(root, stage)
    if failure is not None:
        return Fault(failure["class"]), failure["message"]
    message = dvc_error(lines)
    return (Fault.TRANSIENT if any(word in message for word in _BUSY) else Fault.OTHER), message
