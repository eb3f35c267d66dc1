"""A cell as a flow run of its own, on a machine of a work pool: the deployment `cell/cell`."""

from prefect import flow
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State

from flows.errors import TOLD
from flows.machines.remote_cell import run_remote_cell


def run(spec: dict) -> State:
    """Runs a cell; the message of the state is its experiment's commit, or why it failed."""
    try:
        return Completed(message=run_remote_cell(spec, get_run_logger().info))
    except TOLD as error:
        return Failed(message=str(error))


cell = flow(name="cell", retries=0)(run)
