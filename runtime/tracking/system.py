"""What a run is recorded with of its machine: the packages, and what the stage's process uses, seen from outside it."""

import getpass
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import psutil

MIB = 2**20
_HEADER = re.compile(r"^(Name|Version): (.+)$", re.MULTILINE)
CLOCK_ERROR = 5.0  # seconds
BEAT = 60.0  # seconds between signs of life of an open run
SILENCE = 900.0  # seconds without one after which a run is dead whose process cannot be seen from here


def packages() -> str:
    """Installed packages as `name==version` lines, sorted."""
    lines = {_pinned(found) for found in distributions()}
    return "\n".join(sorted(lines, key=str.lower)) + "\n"


def _pinned(found: Distribution) -> str:
    """From the head of its metadata: to parse all of them takes half a second, in every stage."""
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    head = dict(_HEADER.findall(text.partition("\n\n")[0]))
    return f"{head.get('Name')}=={head.get('Version')}"


def user() -> str:
    """Who runs this: a name, or the number of one whom the system has no name for, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def pid_space() -> str:
    """Where the number of a process means that one: in a boot of a machine, and there in a container or outside."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return "of the host"  # which is no Linux


def has_ended(tags: Mapping[str, str]) -> bool:
    """Whether the process behind a run that says RUNNING is gone; another machine may have this one's name."""
    if (tags.get("host"), tags.get("pid.space")) == (socket.gethostname(), pid_space()):
        return find_process(int(tags["pid"]), float(tags["pid.started"])) is None
    return time.time() - float(tags.get("heartbeat", "inf")) > SILENCE


def find_process(pid: int, started: float) -> psutil.Process | None:
    """The process that was given number `pid` at time `started` (s since the epoch), unless it has ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        # Start times count from the boot, whose time of day a corrected clock moves.
        if abs(process.create_time() - started) < CLOCK_ERROR and lives(process):
            return process
    return None


def lives(process: psutil.Process) -> bool:
    """Whether a process has not ended; one that only waits for its parent to notice has."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextmanager
def gpu_metrics(run_id: str, uri: str) -> Iterator[None]:
    """Inside, MLflow samples its own system metrics into the run, where there is an NVIDIA GPU."""
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    try:
        GPUMonitor()
    except (ImportError, RuntimeError):  # without NVIDIA's library there is none
        yield
        return
    monitor = SystemMetricsMonitor(run_id, tracking_uri=uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


class Sampler:
    """Samples memory and CPU of a process and its workers, ever more seldom: 1, 2, 4, ... up to 30 s apart."""

    def __init__(self, pid: int, started: float):
        self._process = find_process(pid, started)  # it may have ended while MLflow was imported
        if not self.is_gone():
            self._process.cpu_percent()  # the first call only starts the clock
        self._started = time.monotonic()
        self._interval = self._next = 1.0

    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._process is None or not lives(self._process)

    def sample(self, run: Any) -> None:
        """When it is time for one, adds a sample to the run, whose step is the seconds since the start.

        Resident memory is in MiB, CPU in percent of one core since the last sample.
        """
        seconds = time.monotonic() - self._started
        if seconds < self._next or self.is_gone():
            return
        self._interval = min(2 * self._interval, 30.0)
        self._next += self._interval
        with suppress(psutil.NoSuchProcess):
            workers = [child for child in self._process.children(recursive=True) if child.pid != os.getpid()]
            rss = sum(process.memory_info().rss for process in [self._process, *workers])
            values = {"system/rss_mib": rss / MIB, "system/cpu_percent": self._process.cpu_percent()}
            run.add_metrics(values, step=int(seconds), time_ms=int(time.time() * 1000))
