"""What the stage's process uses of the machine, seen from outside it."""

import os
import time
from contextlib import suppress

import psutil

MIB = 2**20
CLOCK_ERROR = 5.0  # seconds


def find_process(pid: int, started: float) -> psutil.Process | None:
    """The process that was given number `pid` at time `started` (s since the epoch), unless it is gone."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        # Start times count from the boot, whose time of day a corrected clock moves.
        if abs(process.create_time() - started) < CLOCK_ERROR:
            return process
    return None


class Sampler:
    """Samples memory and CPU of process `pid` and its workers, ever more seldom: 1, 2, 4, ... up to 30 s apart."""

    def __init__(self, pid: int):
        self._process: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):  # it may have ended while MLflow was imported
            self._process = psutil.Process(pid)
            self._process.cpu_percent()  # the first call only starts the clock
        self._started = time.monotonic()
        self._interval, self._next = 1.0, 1.0

    def seconds(self) -> int:
        """Seconds since the start, the step of system metrics."""
        return int(time.monotonic() - self._started)

    def is_due(self) -> bool:
        """Whether it is time for a sample."""
        return time.monotonic() - self._started >= self._next and not self.stage_is_gone()

    def sample(self) -> dict[str, float]:
        """Resident memory in MiB and CPU in percent of one core since the last sample."""
        self._interval = min(2 * self._interval, 30.0)
        self._next += self._interval
        try:
            workers = [child for child in self._process.children(recursive=True) if child.pid != os.getpid()]
            rss = sum(process.memory_info().rss for process in [self._process, *workers])
            return {"system/rss_mib": rss / MIB, "system/cpu_percent": self._process.cpu_percent()}
        except psutil.NoSuchProcess:
            return {}

    def stage_is_gone(self) -> bool:
        """Whether the stage's process has ended."""
        try:
            lives = self._process is not None and self._process.is_running()
            return not lives or self._process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
