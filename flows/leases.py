"""What a machine can run at once: so many stages, and one on each GPU."""

import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Leases:
    """Lends a place among `workers`, and a GPU to whoever needs one.

    In the flow's own process: slots that a server keeps can be lost with a worker.

    Args:
        gpus: numbers of this machine's GPUs; without any, whoever needs one gets none and runs on the CPU.
    """

    def __init__(self, workers: int, gpus: list[str]):
        self._places = threading.Semaphore(workers)
        self._free: queue.Queue[str] = queue.Queue()
        for gpu in gpus:
            self._free.put(gpu)
        self._has_gpus = bool(gpus)

    @contextmanager
    def lease(self, gpu: bool, stop: threading.Event) -> Iterator[dict[str, str] | None]:
        """Environment of the leased place; None when `stop` was set before one was free."""
        if gpu and self._has_gpus:
            yield from self._on_gpu(stop)
            return
        if not _acquired(self._places, stop):
            yield None
            return
        try:
            # A stage that has no lease must not take another one's memory.
            yield {"CUDA_VISIBLE_DEVICES": ""} if self._has_gpus else {}
        finally:
            self._places.release()

    def _on_gpu(self, stop: threading.Event) -> Iterator[dict[str, str] | None]:
        number = None
        while number is None and not stop.is_set():
            try:
                number = self._free.get(timeout=0.1)
            except queue.Empty:
                continue
        if number is None:
            yield None
            return
        try:
            yield {"CUDA_VISIBLE_DEVICES": number}
        finally:
            self._free.put(number)


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, timeout=30
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    return listed.stdout.split() if listed.returncode == 0 else []


def _acquired(places: threading.Semaphore, stop: threading.Event) -> bool:
    while not stop.is_set():
        if places.acquire(timeout=0.1):
            return True
    return False
