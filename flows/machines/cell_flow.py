"""A cell as a flow run of its own, on a machine of a work pool: the deployment `cell/cell`."""

from prefect import flow
from prefect.logging import get_run_logger
from prefect.states import Completed, State

from flows.machines.remote_cell import run_remote_cell
from flows.running.tasks import state_of


def run(spec: dict) -> State:
    """Runs a cell; the message of the state is its experiment's commit, or why it failed."""
    return state_of(lambda: Completed(message=run_remote_cell(spec, get_run_logger().info)))


cell = flow(name="cell", retries=0)(run)
