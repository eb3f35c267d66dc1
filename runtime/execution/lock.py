"""One writer at a time, by a file lock that holds the numbers and start times of its holder and that one's DVC."""

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO

import psutil

from runtime.errors import StageError
from runtime.execution.watch import launcher
from runtime.tracking.system import find_process, pid_space

GRACE = 20.0  # seconds from SIGTERM to SIGKILL: enough for a checkpoint
RELEASE = 30.0  # seconds until the workers of a killed process have noticed and let the lock go
LOOK = 0.2  # seconds between tries


@contextmanager
def sole_writer(path: Path, name: str) -> Iterator[None]:
    """Holds the lock at `path` for stage `name`; the block may remove the lock's folder.

    A holder is waited for while the DVC that started it lives: it does the same work in another workspace. One that
    has outlived its DVC is stopped.

    Raises:
        StageError: the lock is still held after such a process was killed.
    """
    with _awaited(path, name) as file:
        me = psutil.Process()
        file.truncate(0)
        # The start time tells a process from a later one that is given the same number.
        json.dump([(process.pid, process.create_time(), pid_space()) for process in (me, launcher() or me)], file)
        file.flush()
        yield


@contextmanager
def if_free(path: Path) -> Iterator[bool]:
    """Holds the lock at `path` when nobody does; says whether it is held now."""
    file = _taken(path)
    with file or nullcontext():  # closing the file frees the lock
        yield file is not None


def _taken(path: Path) -> TextIO | None:
    """The open lock file, or None while somebody holds it."""
    # Whoever held it may remove the folder at any moment, also between two looks of `mkdir`; then the lock is that of a
    # file which nobody will find.
    with suppress(BlockingIOError, FileNotFoundError, FileExistsError), ExitStack() as opened:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = opened.enter_context(path.open("a+"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            opened.pop_all()
            return file
    return None


def _awaited(path: Path, name: str) -> TextIO:
    said = False
    while not (file := _taken(path)):
        if not all(find_process(*one) for one in _holders(path)):
            return _wrested(path, name)
        if not said:
            print(f"{name} runs on the same inputs elsewhere: waiting for what that makes.", file=sys.stderr)
            said = True
        time.sleep(LOOK)
    return file


def _wrested(path: Path, name: str) -> TextIO:
    """The lock, after its holder was stopped."""
    print(f"Another process still runs {name}: stopping it first.", file=sys.stderr)
    for signum, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, RELEASE)):
        _signal_holder(path, signum)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if file := _taken(path):
                return file
            time.sleep(LOOK)
    raise StageError(f"{name} is still locked by another process ({path}); end that one, then run `dvc repro`.")


def _signal_holder(path: Path, signum: signal.Signals) -> None:
    for pid, started in _holders(path)[:1]:
        if holder := find_process(pid, started):  # when it is gone, its workers hold the lock for a moment longer
            with suppress(psutil.NoSuchProcess):
                holder.send_signal(signum)


def _holders(path: Path) -> list[tuple[int, float]]:
    """The holder and its DVC, a number and a start time each; none before it has noted them, or in a container."""
    with suppress(FileNotFoundError, json.JSONDecodeError):
        noted = json.loads(path.read_text())
        return [(pid, started) for pid, started, *space in noted if space in ([], [pid_space()])]
    return []
