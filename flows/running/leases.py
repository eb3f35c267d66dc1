"""What a machine can run at once: so many threads on its cores, and one stage on each GPU."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flows.settings import Machine
from runtime.execution.graph import Stage


class Leases:
    """Lends places, a stage takes one for each of its threads, or a GPU to whoever needs one; until `stop` is set.

    In the flow's own process: slots that a server keeps can be lost with a worker.
    """

    def __init__(self, machine: Machine):
        self.machine = machine
        self.stop = threading.Event()
        self._free, self._free_gpus = machine.workers, list(machine.gpus)
        self._changed = threading.Condition()

    @contextmanager
    def lease(self, stage: Stage) -> Iterator[dict[str, str] | None]:
        """What a stage's environment says of its place; None when `stop` was set before there was one.

        Without GPUs, a stage that wants one runs on the CPU. With one it computes there, and takes no place.
        """
        wanted = int(bool(self.machine.gpus) and stage.name.partition("@")[0] in self.machine.gpu_stages)
        taken = 0 if wanted else min(places(stage), self.machine.workers)
        with self._changed:
            while not self.stop.is_set() and (self._free < taken or len(self._free_gpus) < wanted):
                self._changed.wait(timeout=0.1)
            # Also after a stop, when it may be more than is free: nobody else gets a place then.
            self._free -= taken
            gpus, self._free_gpus = self._free_gpus[:wanted], self._free_gpus[wanted:]
        # A stage that was lent no GPU must not take another one's memory.
        seen = {"CUDA_VISIBLE_DEVICES": "".join(gpus)} if self.machine.gpus else {}
        try:
            yield None if self.stop.is_set() else {"TACA_GPU_HOUR_PRICE": str(self.machine.gpu_hour_price), **seen}
        finally:
            with self._changed:
                self._free += taken
                self._free_gpus += gpus
                self._changed.notify_all()


def places(stage: Stage) -> int:
    """How many a stage takes: its threads, if it says that its outputs depend on them."""
    return int(stage.params.get("threads", 1))
