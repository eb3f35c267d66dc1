"""What a machine can run at once: so many threads, and one stage on each GPU."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.execution.graph import Stage


class Leases:
    """Lends places, a stage takes one for each of its threads, and a GPU to whoever needs one.

    In the flow's own process: slots that a server keeps can be lost with a worker.

    Args:
        places: how many there are. Who asks for more than that gets all of them.
        gpus: numbers of this machine's GPUs; without any, whoever needs one gets none and runs on the CPU.
    """

    def __init__(self, places: int, gpus: list[str]):
        self._all = self._free = places
        self._gpus, self._free_gpus = gpus, list(gpus)
        self._changed = threading.Condition()

    @contextmanager
    def lease(self, places: int, gpu: bool, stop: threading.Event) -> Iterator[dict[str, str] | None]:
        """Environment of what is leased; None when `stop` was set before it was free."""
        taken, number = min(places, self._all), None
        with self._changed:
            while not stop.is_set() and not self._can_have(taken, gpu):
                self._changed.wait(timeout=0.1)
            leased = self._can_have(taken, gpu) and not stop.is_set()
            if leased:
                self._free -= taken
                number = self._free_gpus.pop(0) if gpu and self._gpus else None
        try:
            # A stage that has no lease must not take another one's memory.
            yield None if not leased else {"CUDA_VISIBLE_DEVICES": number or ""} if self._gpus else {}
        finally:
            if leased:
                self._give_back(taken, number)

    def _can_have(self, places: int, gpu: bool) -> bool:
        return self._free >= places and (not gpu or not self._gpus or bool(self._free_gpus))

    def _give_back(self, places: int, number: str | None) -> None:
        with self._changed:
            self._free += places
            if number is not None:
                self._free_gpus.append(number)
            self._changed.notify_all()


def places(stage: Stage) -> int:
    """How many a stage takes: its threads, if it says that its outputs depend on them."""
    return int(stage.params.get("threads", 1))


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
