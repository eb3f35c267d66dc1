"""What a Prefect server has to know before flows run on it: a work pool, prefect.yaml, how to notice a dead flow."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
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
        active = [name for name, (_, schedule) in _schedules(client).items() if schedule.active]
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        # Without TACA_ROOT here, the place of the repository is left to the worker's environment.
        blind = {key: value for key, value in env.items() if key != "TACA_ROOT"}
        done = subprocess.run(command, cwd=root, env=blind, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
            raise StageError(f"`prefect deploy --all` failed; correct prefect.yaml: {last.strip()}")
        found = _schedules(client)
        for name in found.keys() & active:
            deployment, schedule = found[name]
            client.update_deployment_schedule(deployment.id, schedule.id, active=True)


def relink(pages: str) -> None:
    """Has links to runs in Prefect's artifacts lead to where MLflow's pages are now, also on another port.

    Args:
        pages: the address of MLflow on this machine.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import ArtifactUpdate

    with get_client(sync_client=True) as client:
        offset = 0
        while artifacts := client.read_artifacts(sort="ID_DESC", limit=PAGE, offset=offset):
            for artifact in artifacts:
                before = json.dumps(artifact.data)
                after = RUNS_PAGE.sub(f"{pages}/#/experiments/", before)
                if after != before:
                    client.update_artifact(artifact.id, ArtifactUpdate(data=json.loads(after)))
            offset += PAGE


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


def _schedules(client) -> dict[tuple[str, str], tuple]:
    """Deployment and schedule by what these say, since deploying gives a schedule a new id."""
    found = [(deployment, schedule) for deployment in client.read_deployments() for schedule in deployment.schedules]
    return {(pair[0].name, pair[1].schedule.model_dump_json()): pair for pair in found}
