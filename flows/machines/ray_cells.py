"""Cells on a Ray cluster, through prefect-ray. Ray starts a cell again whose node has died."""

from contextlib import suppress

import ray
from prefect_ray import RayTaskRunner
from prefect_ray.context import remote_options
from prefect_ray.task_runners import PrefectRayFuture

from flows.machines import cell_flow
from flows.machines.elsewhere import Elsewhere
from flows.running.process import GRACE
from flows.running.tasks import tried
from flows.sweeps.cells import Cell
from flows.sweeps.job import Job
from runtime.errors import StageError


class RayCluster(Elsewhere):
    """Cells as tasks of the cluster at `ray_address`; each asks for its threads and `cell_gpus`."""

    def __enter__(self) -> "RayCluster":
        self._submitted: list[PrefectRayFuture] = []
        address = self.leases.machine.ray_address
        try:
            # Before the task runner does, which starts a cluster of its own where it finds none.
            ray.init(address, namespace="prefect", log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            said = str(error).splitlines()[0]
            raise StageError(f"Ray at `ray_address` of machine.yaml ({address}) cannot be used: {said}") from None
        # One more than it has now, by which it sees that it should grow.
        self.places = int(ray.cluster_resources().get("CPU", 1)) + 1
        self._runner = RayTaskRunner(address=address).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        left = [future.wrapped_future for future in self._submitted if future._final_state is None]
        for one in left:
            ray.cancel(one)  # KeyboardInterrupt there, by which a cell ends its stage
        with suppress(Exception):
            ray.wait(left, num_returns=len(left), timeout=GRACE)
        self._runner.__exit__(*error)
        ray.shutdown()

    def submit(self, cell: Cell, job: Job) -> PrefectRayFuture:
        settings = self.leases.machine
        run = tried(cell_flow.run, name="cell", run_name=cell.label, machine=settings)
        with remote_options(num_cpus=cell.places, num_gpus=settings.cell_gpus, max_retries=settings.retries):
            future = self._runner.submit(run, {"spec": self.specification(job)})
        self._submitted.append(future)
        return future
