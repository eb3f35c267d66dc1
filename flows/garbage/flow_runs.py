"""Prefect's flow runs that ended long ago and belong to no MLflow run."""

from datetime import UTC, datetime, timedelta

from flows.garbage import Garbage

FLOWS = ["pipeline", "sweep"]  # others on the same server are not this project's
PAGE = 200  # flow runs that Prefect gives at once


def ended_flow_runs(words: frozenset[str], days: float) -> Garbage:
    """Flow runs in a final state for so long, but for those that a live MLflow run names."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        unused = [run for run in _ended(client, days) if str(run.id) not in words]
    items = tuple(f"{run.id}  {run.name}  {run.state_name}" for run in unused)
    text = f"{len(unused)} flow runs that ended more than {days:g} days ago and have no MLflow run"
    return Garbage("Prefect", text, items, remove=lambda: _remove([run.id for run in unused]))


def _ended(client, days: float) -> list:
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterEndTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import TERMINAL_STATES

    ended = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime(before_=datetime.now(UTC) - timedelta(days=days)),
    )
    ours = FlowFilter(name=FlowFilterName(any_=FLOWS))
    found: list = []
    while len(found) % PAGE == 0:
        page = client.read_flow_runs(flow_filter=ours, flow_run_filter=ended, limit=PAGE, offset=len(found))
        found += page
        if not page:
            break
    return found


def _remove(ids: list) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for flow_run in ids:
            client.delete_flow_run(flow_run)
