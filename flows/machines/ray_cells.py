"""Cells on a Ray cluster, through prefect-ray. Ray starts a cell again whose node has died."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import ray
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect_ray import RayTaskRunner
from prefect_ray.context import remote_options
from prefect_ray.task_runners import PrefectRayFuture

from flows.machines import cell_flow
from flows.machines.elsewhere import Elsewhere, waves
from flows.running.leases import places
from flows.running.process import GRACE
from flows.sweeps.cells import Cell
from flows.sweeps.run_cell import Source
from lab.params import Params
from runtime.errors import StageError


class RayCluster(Elsewhere):
    """Cells as tasks of the cluster at `flows.ray_address`; each asks for its threads and `flows.cell_gpus`."""

    def __init__(self, root: Path, sweep: str, source: Source, params: Params):
        super().__init__(root, sweep, source, params)
        self._submitted: list[PrefectRayFuture] = []

    def __enter__(self) -> "RayCluster":
        address = self.params.flows.ray_address
        try:
            # Before the task runner does, which starts a cluster of its own where it finds none.
            ray.init(address, namespace="prefect", log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            said = str(error).splitlines()[0]
            raise StageError(f"Ray at `flows.ray_address` ({address}) cannot be used: {said}") from None
        self.places = int(ray.cluster_resources().get("CPU", 1))
        self._runner = RayTaskRunner(address=address).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        left = [future.wrapped_future for future in self._submitted if future._final_state is None]
        for one in left:
            ray.cancel(one)  # KeyboardInterrupt there, by which a cell ends its stage
        with suppress(Exception):
            ray.wait(left, num_returns=len(left), timeout=GRACE)
        self._runner.__exit__(*error)
        ray.shutdown()

    def waves(self, cells: list[Cell]) -> Iterator[list[Cell]]:
        yield from waves(cells, self.stages)

    def submit(self, cell: Cell, parent: str) -> PrefectRayFuture:
        run = task(name="cell", task_run_name=cell.label, cache_policy=NO_CACHE, retries=0)(cell_flow.run)
        threads = max(map(places, self.stages(cell)), default=1)
        settings = self.params.flows
        with remote_options(num_cpus=threads, num_gpus=settings.cell_gpus, max_retries=settings.retries):
            future = self._runner.submit(run, {"spec": self.specification(cell, parent)})
        self._submitted.append(future)
        return future
