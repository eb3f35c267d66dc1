"""A finished run of a stage, as MLflow holds it: what it ran on and what it made."""

import os
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from runtime.errors import StageError
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import shown, sqlite_file

PACKAGES = "environment/packages.txt"
# Metrics of the execution, not of what it computed.
OF_THE_EXECUTION = ("system/", "cost/")


class StageRun:
    """One run; `client` is that of the store that holds it."""

    def __init__(self, client: Any, run: Any):
        self.id = run.info.run_id
        self.tags: Mapping[str, str] = run.data.tags
        self.stage = self.tags["stage"]
        self.commit = self.tags["git.commit"]
        self.metrics = sorted(name for name in run.data.metrics if not name.startswith(OF_THE_EXECUTION))
        self._client = client
        self._run = run

    def recorded(self, kind: str, path: str) -> str | None:
        """The DVC hash of a dependency (`kind` is "dep") or an output ("out"); None if the run has none."""
        from runtime.tracking.store import tag_key

        return self.tags.get(tag_key(f"dvc.{kind}.{path}"))

    def inputs(self) -> dict[str, str]:
        """Path and DVC hash of the data that it read."""
        tags = [{tag.key: tag.value for tag in found.tags} for found in self._run.inputs.dataset_inputs]
        return {found["dvc.path"]: found["dvc.md5"] for found in tags if "dvc.path" in found}

    def artifact(self, path: str, folder: Path) -> Path | None:
        """A copy, below `folder`, of the file or folder that the run holds at `path`; None if it holds none."""
        listed = self._client.list_artifacts(self.id, posixpath.dirname(path))
        if path not in [entry.path for entry in listed]:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        return Path(self._client.download_artifacts(self.id, path, str(folder)))

    def curve(self, metric: str) -> dict[int, float]:
        """A metric's value at each step, the last one where there are several."""
        points = self._client.get_metric_history(self.id, metric)
        return {point.step: point.value for point in sorted(points, key=lambda point: point.timestamp)}

    def packages(self) -> dict[str, str]:
        """The version of each package that was installed."""
        with TemporaryDirectory() as folder:
            lines = self.artifact(PACKAGES, Path(folder)).read_text().splitlines()
        return {name: version for name, _, version in (line.partition("==") for line in lines)}

    def run_again_since(self, start_ms: int) -> "StageRun | None":
        """The newest run of the same stage below this one, if one began after `start_ms`."""
        below = f"tags.`mlflow.parentRunId` = '{self.id}' and attributes.start_time >= {start_ms}"
        found = self._client.search_runs([self._run.info.experiment_id], below, order_by=["start_time DESC"])
        again = (run for run in found if run.data.tags.get("stage") == self.stage)
        return next((StageRun(self._client, run) for run in again), None)

    def mark(self, tags: Mapping[str, str], texts: Mapping[str, str]) -> None:
        """Adds tags, and texts as artifacts, replacing those of the same name."""
        for path, text in texts.items():
            self._client.log_text(self.id, text, path)
        for key, value in tags.items():
            self._client.set_tag(self.id, key, value)


def find_run(root: Path, run_id: str) -> StageRun:
    """The run in the store of the repository at `root`.

    Raises:
        StageError: the store does not answer, or has no finished stage run of this id whose artifacts can be read.
    """
    if not re.fullmatch("[0-9a-f]{32}", run_id):
        raise StageError(
            f"{run_id!r} is no run id: take the 32 hex digits that `make ui` or `make run HASH=...` shows."
        )
    uri = tracking_uri(root)
    check_answers(uri)
    client = _client(uri)
    run = _get(client, uri, run_id)
    fault = _fault(run)
    if fault:
        raise StageError(f"Run {run_id} {fault}")
    if not any(entry.path == "environment" for entry in client.list_artifacts(run_id)):
        place = shown(run.info.artifact_uri)
        raise StageError(f"Run {run_id} has no artifacts at {place}: rebuild it on a machine that can read them.")
    return StageRun(client, run)


def _client(uri: str) -> Any:
    database = sqlite_file(uri)
    if database and not database.exists():
        raise StageError(
            f"There is no MLflow store {database}: run from the repository's root or set MLFLOW_TRACKING_URI."
        )
    quiet = {
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    os.environ.update(quiet)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # MLflow's own seven take four minutes
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def _get(client: Any, uri: str, run_id: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        raise StageError(_refusal(error, shown(uri), run_id)) from None


def _refusal(error: Any, store: str, run_id: str) -> str:
    if error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return (
            f"{store} has no run {run_id}: take an id from `make ui` or `make run HASH=...`, "
            "or set MLFLOW_TRACKING_URI to the store that has it."
        )
    said = str(error).strip().splitlines()[0]
    remedy = "mend that or correct MLFLOW_TRACKING_URI"
    if error.error_code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user who may read the run"
    return f"MLflow at {store} cannot be read ({said}); {remedy}."


def _fault(run: Any) -> str | None:
    """Why a run cannot be rebuilt, and what to do."""
    tags = run.data.tags
    if "stage" not in tags or "git.commit" not in tags:
        return "is no run of a stage of this project: take one with the tag `stage`, such as those below a flow's run."
    if run.info.lifecycle_stage != "active":
        return f"was deleted: `mlflow runs restore --run-id {run.info.run_id}` brings it back."
    if run.info.status != "FINISHED":
        return f"of {tags['stage']} is {run.info.status}: only what finished can be compared; take a run that did."
    if tags["git.commit"] == "none":
        return (
            f"of {tags['stage']} was made outside git, so that nothing says which code it ran; commit, and run again."
        )
    return None
