"""Cells on the machines of a Prefect work pool, such as Kubernetes: each is a flow run of the deployment `cell/cell`.

The job clones the repository at the sweep's commit, so its image needs the environment alone.
"""

from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.futures import PrefectFuture
from prefect.states import Cancelling, Completed, Failed, State

from flows.machines.cell_flow import cell as cell_flow
from flows.machines.elsewhere import Elsewhere
from flows.running.tasks import PASSING, tried
from flows.sweeps.cells import Cell
from flows.sweeps.job import Job
from runtime.errors import StageError

LOOK = 2.0  # seconds between looks at a flow run


class WorkPool(Elsewhere):
    """Cells as flow runs in the pool `work_pool`, which decides how many run at once."""

    def __enter__(self) -> "WorkPool":
        self.places = 64  # threads of the sweep's flow, each of which waits for one
        name = self.leases.machine.work_pool
        clone = {"repository": "{{ $TACA_REPOSITORY }}", "commit_sha": "{{ $TACA_COMMIT }}"}
        with get_client(sync_client=True) as client:
            try:
                kind = client.read_work_pool(name).type
            except ObjectNotFound:
                raise StageError(
                    f"There is no work pool {name!r} (`work_pool` in machine.yaml): `prefect work-pool ls` lists those "
                    "there are."
                ) from None
            client.create_deployment(
                client.create_flow(cell_flow),
                "cell",
                work_pool_name=name,
                entrypoint="flows/machines/cell_flow.py:cell",
                pull_steps=[{"prefect.deployments.steps.git_clone": clone}],
                enforce_parameter_schema=False,
            )
        self._variables = {"env": {"TACA_REPOSITORY": self.repository, "TACA_COMMIT": self.jobs.commit}}
        if kind == "kubernetes":
            self._variables["gpus"] = f"{self.leases.machine.cell_gpus:g}"
        return self

    def submit(self, cell: Cell, job: Job) -> PrefectFuture:
        run = tried(_run, name="cell", run_name=cell.label, machine=self.leases.machine)
        return run.submit(self, cell.label, self.specification(job))

    def run(self, label: str, spec: dict) -> State:
        """Runs a cell's flow run to its end; it is cancelled when the sweep is stopped."""
        options = {"parameters": {"spec": spec}, "job_variables": self._variables}
        run = run_deployment("cell/cell", flow_run_name=label, timeout=0, **options)
        with get_client(sync_client=True) as client:
            while not (state := client.read_flow_run(run.id).state).is_final():
                if self.leases.stop.wait(LOOK):
                    client.set_flow_run_state(run.id, Cancelling())
                    return Failed(message="The sweep was stopped.")
        return state


def _run(pool: WorkPool, label: str, spec: dict) -> State:
    state = pool.run(label, spec)
    if state.is_completed():
        return Completed(message=state.message)
    # Crashed by its machine, for which another one can stand in.
    return Failed(name=PASSING if state.is_crashed() else state.name, message=state.message or state.name)
