"""Where the cells of a sweep run: in workspaces here, on a Ray cluster, or on the machines of a Prefect work pool.

All of them are used in the same way: `submit` starts a cell and returns a Prefect future whose state is completed, with
the experiment's commit as its message, or failed, with the reason.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager

from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed, State

from flows.running.leases import Leases
from flows.running.tasks import state_of, tried
from flows.sweeps.cells import Cell
from flows.sweeps.job import Job, Jobs
from flows.sweeps.run_cell import CellRun


class Here(AbstractContextManager):
    """Cells in workspaces of this machine, which share its cache and its unfinished work.

    Attributes:
        places: how many cells are started at once; each of their stages then waits for its own place.
        apart: whether machines see what others have made only when that is finished.
    """

    apart = False

    def __init__(self, jobs: Jobs, leases: Leases):
        self.jobs, self.leases = jobs, leases
        self.places = max(leases.machine.workers, len(leases.machine.gpus))

    def __exit__(self, *error: object) -> None:
        self.leases.stop.set()

    def send(self, stages: Iterable[str]) -> None:
        """Sends what the pipeline's stages left to where cells run: here it is there."""

    def fetch(self, cell: Cell, commit: str) -> None:
        """Brings a finished cell's experiment and scores: here they are."""

    def submit(self, cell: Cell, job: Job) -> PrefectFuture:
        """Starts a cell."""
        return tried(_run, name="cell", run_name=cell.label, machine=self.leases.machine).submit(self, job)


def runner_of(jobs: Jobs, leases: Leases) -> Here:
    """The runner that `runner` in machine.yaml names."""
    if leases.machine.runner == "ray":
        from flows.machines.ray_cells import RayCluster

        return RayCluster(jobs, leases)
    if leases.machine.runner == "kubernetes":
        from flows.machines.pool_cells import WorkPool

        return WorkPool(jobs, leases)
    return Here(jobs, leases)


def _run(runner: Here, job: Job) -> State:
    run = CellRun(runner.jobs.root, job, runner.leases, get_run_logger().info)
    return state_of(lambda: Completed(message=run()))
