"""Checks that nothing phones home."""

from pathlib import Path

from flows.checks import Finding
from flows.running.repro import environment
from flows.services.server import QUIET

# What each program understands as "no"; the first is for Prefect's client and whoever else asks for it.
OFF = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def check_telemetry(root: Path) -> Finding:
    """DVC's configuration, and the environment in which flows start DVC, MLflow and Prefect."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        core = repo.config["core"]
    env = {**environment(root), **QUIET}
    remedies = [f"`dvc config core.{key} false`" for key in ("analytics", "check_update") if core.get(key, True)]
    remedies += [f"give flows {name}={value}" for name, value in OFF.items() if env.get(name) != value]
    return Finding("telemetry", "on" if remedies else "off in DVC, MLflow and Prefect", ", ".join(remedies))
