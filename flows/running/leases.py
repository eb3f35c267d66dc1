"""What a machine can run at once: so many threads on its cores, and one stage on each GPU."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.running.repository import environment
from flows.running.repro import Outcome, reproduce
from flows.settings import Machine
from runtime.execution.graph import Stage


class Leases:
    """Lends places, a stage takes one for each of its threads, or a GPU to whoever needs one, until `stop` is set.

    In the flow's own process: slots that a server keeps can be lost with a worker.
    """

    def __init__(self, machine: Machine):
        self.machine = machine
        self.stop = threading.Event()
        self._free, self._free_gpus = machine.workers, list(machine.gpus)
        self._changed = threading.Condition()

    def run(
        self,
        stage: Stage,
        root: Path,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        options: Sequence[str] = (),
    ) -> Outcome:
        """Runs a stage of the workspace at `root` when there is a place for it; see `reproduce`."""
        with self.lease(stage) as place:
            env = environment(root, **env, **place)
            return reproduce(stage.name, root=root, env=env, stop=self.stop, on_line=on_line, options=options)

    @contextmanager
    def lease(self, stage: Stage) -> Iterator[dict[str, str]]:
        """What a stage's environment says of its place, which it waits for; after a stop nobody waits any more.

        Without GPUs, a stage that wants one runs on the CPU. With one it computes there, and takes no place.
        """
        wanted = int(bool(self.machine.gpus) and stage.name.partition("@")[0] in self.machine.gpu_stages)
        taken = 0 if wanted else min(places(stage), self.machine.workers)
        with self._changed:
            while not self.stop.is_set() and (self._free < taken or len(self._free_gpus) < wanted):
                self._changed.wait(timeout=0.1)
            # Also after a stop, when it may be more than is free: nothing is run then.
            self._free -= taken
            gpus, self._free_gpus = self._free_gpus[:wanted], self._free_gpus[wanted:]
        # A stage that was lent no GPU must not take another one's memory.
        seen = {"CUDA_VISIBLE_DEVICES": "".join(gpus)} if self.machine.gpus else {}
        try:
            yield {"TACA_GPU_HOUR_PRICE": str(self.machine.gpu_hour_price), **seen}
        finally:
            with self._changed:
                self._free += taken
                self._free_gpus += gpus
                self._changed.notify_all()


def places(stage: Stage) -> int:
    """How many a stage takes: its threads, if it says that its outputs depend on them."""
    return int(stage.params.get("threads", 1))
