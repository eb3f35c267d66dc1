"""What a Prefect server has to know before flows run on it: a work pool, prefect.yaml, how to notice a dead flow."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from runtime.errors import StageError
from runtime.params import read_yaml

POOL = "taca"  # as in prefect.yaml
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
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with suppress(ObjectAlreadyExists):
        # One at a time: a workspace takes one flow, and the others wait their turn.
        client.create_work_pool(
            WorkPoolCreate(name=POOL, type="process", base_job_template=template, concurrency_limit=1)
        )


def _watch_heartbeats(client) -> None:
    from prefect.events.schemas.automations import AutomationCore

    automation = AutomationCore.model_validate(read_yaml(Path(__file__).with_name("heartbeats.yaml")))
    if not client.read_automations_by_name(automation.name):
        client.create_automation(automation)


def _schedules(client) -> dict[tuple[str, str], tuple]:
    """Deployment and schedule by what these say, since deploying gives a schedule a new id."""
    found = [(deployment, schedule) for deployment in client.read_deployments() for schedule in deployment.schedules]
    return {(pair[0].name, pair[1].schedule.model_dump_json()): pair for pair in found}
