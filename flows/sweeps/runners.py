"""Where the cells of a sweep run: threads here, a Ray cluster, or the machines of a Prefect work pool.

All of them are used in the same way: `submit` starts a cell and returns a Prefect future whose state is completed, with
a message, or failed, with the reason.
"""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State

from flows.errors import TOLD
from flows.running.leases import Leases, gpus
from flows.sweeps.cells import Cell
from flows.sweeps.run_cell import CellRunner, Source
from lab.params import Params


def runner_of(root: Path, sweep: str, source: Source, params: Params):
    """The runner that `flows.runner` names."""
    if params.flows.runner == "ray":
        from flows.machines.ray_cells import RayCluster

        return RayCluster(root, sweep, source, params)
    if params.flows.runner == "kubernetes":
        from flows.machines.pool_cells import WorkPool

        return WorkPool(root, sweep, source, params)
    return Threads(root, sweep, source, params)


class Threads:
    """Cells in workspaces of this machine, `flows.workers` at once."""

    def __init__(self, root: Path, sweep: str, source: Source, params: Params):
        self._runner = CellRunner(root, sweep, source, Leases(params.flows.workers, gpus()), params)
        self.stop, self.commit = self._runner.stop, source.commit
        self.places = params.flows.workers
        self._free = threading.Semaphore(self.places)

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop.set()

    def restore(self, stage: str) -> None:
        """What was made here is here."""

    def send(self, cells: Iterable[Cell]) -> None:
        """Workspaces share the cache."""

    def waves(self, cells: list[Cell]) -> Iterator[list[Cell]]:
        """All at once: what cells share is run once by `CellRunner`."""
        yield cells

    def submit(self, cell: Cell, parent: str) -> PrefectFuture:
        """Starts a cell; its task waits for a place."""
        run = task(name="cell", task_run_name=cell.label, cache_policy=NO_CACHE, retries=0)(_run)
        return run.submit(self._runner, cell, parent, self._free)

    def fetch(self, cell: Cell) -> None:
        """Its experiment is here."""

    def fetch_scores(self, cell: Cell, commit: str) -> None:
        """They are here."""


def _run(runner: CellRunner, cell: Cell, parent: str, free: threading.Semaphore) -> State:
    log = get_run_logger()
    with free:
        try:
            return Completed(message=runner.run(cell, parent, log.info))
        except TOLD as error:
            return Failed(message=str(error))
