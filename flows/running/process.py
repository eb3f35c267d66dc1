"""A process in a group of its own, which goes when it is told to stop, with all that it started."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from runtime.tracking.system import find_process

GRACE = 20.0  # seconds from SIGTERM to SIGKILL: enough for a checkpoint
LOOK = 0.02  # seconds between looks at a process
LOOK_GROUP = 0.1  # at all processes of a machine
KEPT = 400  # last lines of output


@dataclass(frozen=True)
class Finished:
    """How a command ended. `stopped` says that it was told to."""

    returncode: int
    lines: tuple[str, ...]
    stopped: bool


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stop: threading.Event,
    on_line: Callable[[str], None] = lambda line: None,
    note: Path | None = None,
) -> Finished:
    """Runs a command to its end, or until `stop` is set, and ends what it leaves.

    Args:
        on_line: called with each line of its output, errors included, as it comes.
        note: a file that names the process group while it lives, for whoever finds this process killed.
    """
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, start_new_session=True, **output)
    lines: deque[str] = deque(maxlen=KEPT)
    reader = threading.Thread(target=_read, args=(process.stdout, lines, on_line), daemon=True)
    reader.start()
    try:
        if note is not None:
            me = psutil.Process()
            leave_note(note, process.pid, str(me.pid), str(me.create_time()))
        while process.poll() is None and not stop.wait(LOOK):
            pass
        stopped = process.poll() is None
    finally:
        end_group(process.pid)
        process.wait()
        if note is not None:
            note.unlink(missing_ok=True)
    reader.join(timeout=GRACE)
    return Finished(process.returncode, tuple(lines), stopped)


def end_group(group: int) -> None:
    """Ends what lives of a process group: politely, and after `GRACE` seconds for good."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, signum)
        except (ProcessLookupError, PermissionError):
            return
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and _has_members(group):
            time.sleep(LOOK_GROUP)


def end_on_sigterm() -> None:
    """Lets SIGTERM end this process as an error would, so that what it has started is ended too.

    Prefect handles the signal while a flow runs, and then sends it again.
    """

    def end(signum: int, frame: object) -> None:
        signal.signal(signum, signal.SIG_IGN)
        sys.exit(128 + signum)

    signal.signal(signal.SIGTERM, end)


def leave_note(note: Path, pid: int, *more: str) -> None:
    """Names a process in a file, which is whole or not there whenever this process is killed."""
    note.parent.mkdir(parents=True, exist_ok=True)
    part = note.with_suffix(".part")
    part.write_text(" ".join([str(pid), str(psutil.Process(pid).create_time()), *more]))
    part.rename(note)


def lives(note: Path) -> bool:
    """Whether the process lives that a note names."""
    pid, started = note.read_text().split()[:2]
    return find_process(int(pid), float(started)) is not None


def end_noted(note: Path) -> bool:
    """Ends the process group that a killed flow has left behind, by its note; whether there was one."""
    group = int(note.read_text().split()[0])
    # Without its leader a group is known only by its number, which no other process gets while a member lives.
    found = lives(note) or (not psutil.pid_exists(group) and _has_members(group))
    if found:
        end_group(group)
    note.unlink(missing_ok=True)
    return found


def end_left(note: Path) -> bool:
    """As `end_noted`, of a group that `run` noted, unless whoever runs it lives: a flow in another workspace."""
    with suppress(FileNotFoundError):  # that flow has removed it
        pid, started = note.read_text().split()[-2:]
        return find_process(int(pid), float(started)) is None and end_noted(note)
    return False


def _has_members(group: int) -> bool:
    """Whether a member of the group runs; one that has ended and was not waited for does not count."""
    for process in psutil.process_iter(["status"]):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                return True
    return False


def _read(output: Iterable[str], lines: deque[str], on_line: Callable[[str], None]) -> None:
    for line in output:
        text = line.rstrip("\n").rpartition("\r")[2]
        lines.append(text)
        if text.strip():
            on_line(text)
