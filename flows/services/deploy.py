"""What a Prefect server has to know before flows run on it: a work pool, prefect.yaml, how to notice a dead flow."""

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from runtime.errors import StageError

POOL = "taca"  # as in prefect.yaml
ZOMBIES = "crash flow runs without heartbeat"
# Of a flow that lives a heartbeat comes every 180 s; one that is late is no death.
SILENCE = timedelta(minutes=10)
PAGE = 200  # artifacts that the server gives at once
RUNS_PAGE = re.compile(r"http://127\.0\.0\.1:\d+/#/experiments/")


def deploy(root: Path, env: Mapping[str, str]) -> None:
    """Deploys `root/prefect.yaml` to the server that `env` and this process name as PREFECT_API_URL.

    A schedule that was switched on stays on.

    Raises:
        StageError: prefect.yaml or a flow in it is faulty.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        _make_pool(client)
        _watch_heartbeats(client)
        active = {_named(deployment, schedule) for deployment, schedule in _schedules(client) if schedule.active}
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        # Without TACA_ROOT here, the place of the repository is left to the worker's environment.
        blind = {key: value for key, value in env.items() if key != "TACA_ROOT"}
        done = subprocess.run(command, cwd=root, env=blind, capture_output=True, text=True)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip().splitlines() or ["it said nothing"]
            raise StageError(f"`prefect deploy --all` failed; correct prefect.yaml: {said[-1].strip()}")
        for deployment, schedule in _schedules(client):
            if _named(deployment, schedule) in active:
                client.update_deployment_schedule(deployment.id, schedule.id, active=True)


def relink(pages: str) -> None:
    """Has links to runs in Prefect's artifacts lead to where MLflow's pages are now, also on another port.

    Args:
        pages: the address of MLflow on this machine.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import ArtifactUpdate

    with get_client(sync_client=True) as client:
        for artifact in _artifacts(client):
            before = json.dumps(artifact.data)
            after = RUNS_PAGE.sub(f"{pages}/#/experiments/", before)
            if after != before:
                client.update_artifact(artifact.id, ArtifactUpdate(data=json.loads(after)))


def _artifacts(client) -> Iterator:
    for offset in itertools.count(step=PAGE):
        found = client.read_artifacts(sort="ID_DESC", limit=PAGE, offset=offset)
        yield from found
        if len(found) < PAGE:
            return


def _make_pool(client) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        # One at a time: a workspace takes one flow, and the others wait their turn.
        pool = WorkPoolCreate(name=POOL, type="process", base_job_template=template, concurrency_limit=1)
        client.create_work_pool(pool)


def _watch_heartbeats(client) -> None:
    """A flow whose machine went down cannot say so; Prefect's own detection is for its cloud alone."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    if client.read_automations_by_name(ZOMBIES):
        return
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *ends},
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=SILENCE,
    )
    crash = ChangeFlowRunState(state=StateType.CRASHED, message="Its heartbeat has stopped.")
    client.create_automation(AutomationCore(name=ZOMBIES, trigger=trigger, actions=[crash]))


def _schedules(client) -> list[tuple]:
    return [(deployment, schedule) for deployment in client.read_deployments() for schedule in deployment.schedules]


def _named(deployment, schedule) -> tuple[str, str]:
    """What a schedule is called, since deploying gives it a new id."""
    return deployment.name, schedule.schedule.model_dump_json()
