"""Stops a stage in an orderly way: on SIGTERM and SIGINT, when the DVC that started it dies, when tracking fails."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from runtime.tracking.system import lives

INTERVAL = 0.5  # seconds between looks
SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish"}


class Stopped(BaseException):
    """Raised in the main thread when the stage has to stop; no `except Exception` on the way may swallow it."""

    def __init__(self, signum: int, reason: str):
        super().__init__(reason)
        self.signum = signum


@contextmanager
def stoppable(failure: Callable[[], str | None]) -> Iterator[None]:
    """Inside, SIGTERM, SIGINT, the death of DVC, and a `failure()` that returns a reason raise `Stopped`."""
    reasons: list[str] = []
    owner = os.getpid()

    def stop(signum: int, frame: object) -> None:
        if os.getpid() != owner:  # a forked worker inherits this handler
            os._exit(128 + signum)
        for number in previous:  # the clean-up that follows is not interrupted by a second one
            signal.signal(number, signal.SIG_IGN)
        raise Stopped(signum, reasons[0] if reasons else f"it was sent {signal.Signals(signum).name}")

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    finished = threading.Event()
    watcher = threading.Thread(target=_watch, args=(finished, reasons, failure), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _watch(finished: threading.Event, reasons: list[str], failure: Callable[[], str | None]) -> None:
    dvc = launcher()
    while not finished.wait(INTERVAL):
        reason = failure() or (dvc and not lives(dvc) and "the dvc that started it has died")
        if reason:
            reasons.append(reason)
            os.kill(os.getpid(), signal.SIGTERM)
            return


def launcher() -> psutil.Process | None:
    """The DVC process that started this one; None when a person did."""
    if "DVC_STAGE" not in os.environ:
        return None
    parent = psutil.Process().parent()
    script = Path(sys.argv[0]).stem  # `python -m stages.train` and `python stages/train.py` both name it
    # DVC runs a command through a shell, which may stay between the two.
    while parent and parent.name() in SHELLS and script in " ".join(parent.cmdline()):
        parent = parent.parent()
    return parent
