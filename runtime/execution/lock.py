"""One writer per stage: a file lock, for which an older process that a kill of DVC has orphaned is stopped."""

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import psutil

from runtime.errors import StageError
from runtime.tracking.system import find_process

GRACE = 20.0  # seconds from SIGTERM to SIGKILL: enough for a checkpoint
RELEASE = 30.0  # seconds until the workers of a killed process have noticed and let the lock go


@contextmanager
def sole_writer(path: Path, name: str) -> Iterator[None]:
    """Holds the lock at `path` for stage `name`; whoever held it is stopped first.

    DVC never starts a stage twice at once, so an older process is one that outlived its DVC.

    Raises:
        StageError: the lock is still held after the older process was killed.
    """
    with _opened(path) as file:
        if not _try(file):
            _stop_holder(file, name)
        file.seek(0)
        file.truncate()
        # The start time tells this process from a later one that is given the same number.
        file.write(f"{os.getpid()} {psutil.Process().create_time()}")
        file.flush()
        yield


@contextmanager
def if_free(path: Path) -> Iterator[bool]:
    """Holds the lock at `path` when nobody does; says whether it is held now."""
    with _opened(path) as file:
        yield _try(file)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:  # closing the file frees the lock
        yield file


def _try(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop_holder(file: TextIO, name: str) -> None:
    print(f"Another process still runs {name}: stopping it first.", file=sys.stderr)
    for signum, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, RELEASE)):
        _signal_holder(file, signum)
        if _within(seconds, lambda: _try(file)):
            return
    raise StageError(f"{name} is still locked by another process ({file.name}); end that one, then run `dvc repro`.")


def _signal_holder(file: TextIO, signum: signal.Signals) -> None:
    file.seek(0)
    written = file.read().split()
    if len(written) < 2:
        return  # the holder has not written itself yet
    holder = find_process(int(written[0]), float(written[1]))
    if holder:  # when it is gone, its workers hold the lock for a moment longer
        with contextlib.suppress(psutil.NoSuchProcess):
            holder.send_signal(signum)


def _within(seconds: float, done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.1)
    return False
