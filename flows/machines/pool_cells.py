"""Cells on the machines of a Prefect work pool, such as Kubernetes: each is a flow run of the deployment `cell/cell`.

The job clones the repository at the sweep's commit, so its image needs the environment alone.
"""

from collections.abc import Iterator

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.futures import PrefectFuture
from prefect.states import Cancelling, Completed, Failed, State

from flows.machines.cell_flow import cell as cell_flow
from flows.machines.elsewhere import Elsewhere, waves
from flows.sweeps.cells import Cell
from runtime.errors import StageError

LOOK = 2.0  # seconds between looks at a flow run


class WorkPool(Elsewhere):
    """Cells as flow runs in the pool `flows.work_pool`, which decides how many run at once."""

    places = 64  # threads of the sweep's flow, each of which waits for one

    def __enter__(self) -> "WorkPool":
        name = self.params.flows.work_pool
        clone = {"repository": "{{ $TACA_REPOSITORY }}", "commit_sha": "{{ $TACA_COMMIT }}"}
        with get_client(sync_client=True) as client:
            try:
                kind = client.read_work_pool(name).type
            except ObjectNotFound:
                raise StageError(
                    f"There is no work pool {name!r} (`flows.work_pool`): `prefect work-pool ls` lists those there are."
                ) from None
            client.create_deployment(
                client.create_flow(cell_flow),
                "cell",
                work_pool_name=name,
                entrypoint="flows/machines/cell_flow.py:cell",
                pull_steps=[{"prefect.deployments.steps.git_clone": clone}],
                enforce_parameter_schema=False,
            )
        self._job = {"env": {"TACA_REPOSITORY": self.repository, "TACA_COMMIT": self.commit}}
        if kind == "kubernetes":
            self._job["gpus"] = f"{self.params.flows.cell_gpus:g}"
        return self

    def __exit__(self, *error: object) -> None:
        self.stop.set()

    def waves(self, cells: list[Cell]) -> Iterator[list[Cell]]:
        """First one of each that train alike."""
        yield from waves(cells, self.stages)

    def submit(self, cell: Cell, parent: str) -> PrefectFuture:
        """Starts a cell; its task waits for the flow run."""
        run = task(name="cell", task_run_name=cell.label, cache_policy=NO_CACHE, retries=0)(_run)
        return run.submit(self, cell.label, self.specification(cell, parent))

    def start(self, label: str, spec: dict) -> FlowRun:
        """A flow run of the deployment, which has not begun yet."""
        return run_deployment(
            "cell/cell", parameters={"spec": spec}, flow_run_name=label, timeout=0, job_variables=self._job
        )

    def end_of(self, run: FlowRun) -> State:
        """The final state of a flow run; it is cancelled when the sweep is stopped."""
        with get_client(sync_client=True) as client:
            while not (state := client.read_flow_run(run.id).state).is_final():
                if self.stop.wait(LOOK):
                    client.set_flow_run_state(run.id, Cancelling())
                    return Failed(message="The sweep was stopped.")
        return state


def _run(pool: WorkPool, label: str, spec: dict) -> State:
    for _ in range(pool.params.flows.retries + 1):
        state = pool.end_of(pool.start(label, spec))
        if not state.is_crashed():  # by its machine, for which another one can stand in
            break
    return Completed(message=state.message) if state.is_completed() else Failed(message=state.message or state.name)
