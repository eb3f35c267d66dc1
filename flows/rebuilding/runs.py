"""A finished run of a stage, as MLflow holds it: what it ran on and what it made."""

import re
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

from runtime.errors import StageError
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import shown, sqlite_file
from runtime.tracking.system import packages

OF_THE_EXECUTION = ("system/", "cost/")  # metrics of the execution, not of what it computed
FACTS = ("python", "platform", "host", "device")  # tags of a run


class StageRun:
    """One run; `client` is that of the store that holds it."""

    def __init__(self, client: Any, run: Any):
        self.id = run.info.run_id
        self.tags: Mapping[str, str] = run.data.tags
        self.stage = self.tags["stage"]
        self.commit = self.tags["git.commit"]
        self.client = client
        self._run = run

    def recorded(self, kind: str, path: str) -> str | None:
        """The DVC hash of a dependency (`kind` is "dep") or an output ("out"); None if the run has none."""
        from runtime.tracking.store import tag_key

        return self.tags.get(tag_key(f"dvc.{kind}.{path}"))

    def inputs(self) -> dict[str, str]:
        """Path and DVC hash of the data that it read."""
        tags = [{tag.key: tag.value for tag in found.tags} for found in self._run.inputs.dataset_inputs]
        return {found["dvc.path"]: found["dvc.md5"] for found in tags if "dvc.path" in found}

    def curves(self) -> dict[str, dict[int, float]]:
        """The value of each metric of what it computed at each step, the last one where there are several."""
        names = sorted(name for name in self._run.data.metrics if not name.startswith(OF_THE_EXECUTION))
        points = {
            name: sorted(self.client.get_metric_history(self.id, name), key=attrgetter("timestamp")) for name in names
        }
        return {name: {point.step: point.value for point in points[name]} for name in names}

    def again(self, start_ms: int) -> "StageRun":
        """The newest run of the same stage below this one, which began after `start_ms`.

        Raises:
            StageError: there is none.
        """
        below = f"tags.`mlflow.parentRunId` = '{self.id}' and tags.stage = '{self.stage}'"
        asked = f"{below} and attributes.start_time >= {start_ms}"
        for run in self.client.search_runs([self._run.info.experiment_id], asked, order_by=["start_time DESC"]):
            return StageRun(self.client, run)
        raise StageError("The stage ran, but recorded no run below this one: its code is older than that of rebuilds.")


def changed_surroundings(run: StageRun, fresh: StageRun, kept: Path) -> dict[str, tuple[str, str]]:
    """What is not the same around two runs, with both values: of the machine, then packages.

    Args:
        kept: the artifacts of `run`; `fresh` ran in this environment.
    """
    then = _surroundings(run, (kept / "environment" / "packages.txt").read_text())
    now = _surroundings(fresh, packages())
    # Last the packages that one of the two does not have.
    names = [*(name for name in then if name in now), *sorted(then.keys() ^ now.keys())]
    return {name: (then.get(name, "none"), now.get(name, "none")) for name in names if then.get(name) != now.get(name)}


def find_run(root: Path, run_id: str) -> StageRun:
    """The run in the store of the repository at `root`.

    Raises:
        ConnectionError: the store does not answer.
        StageError: it refuses, or has no finished stage run of this id whose artifacts can be read.
    """
    if not re.fullmatch("[0-9a-f]{32}", run_id):
        raise StageError(
            f"{run_id!r} is no run id: take the 32 hex digits that `make ui` or `make run HASH=...` shows."
        )
    uri = tracking_uri(root)
    check_answers(uri)
    database = sqlite_file(uri)
    if database and not database.exists():
        raise StageError(
            f"There is no MLflow store {database}: run from the repository's root or set MLFLOW_TRACKING_URI."
        )
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        client = MlflowClient(uri)
        run = client.get_run(run_id)
    except MlflowException as error:
        raise StageError(
            f"{shown(uri)} has no run {run_id}: take an id from `make ui` or `make run HASH=...`, or set "
            "MLFLOW_TRACKING_URI to the store that has it, and MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD "
            f"to a user who may read it. MLflow says: {str(error).strip().splitlines()[0]}"
        ) from None
    readable = bool(client.list_artifacts(run_id, "environment"))
    faults = [fault for fault, true in _faults(run, readable).items() if true]
    if faults:
        raise StageError(f"Run {run_id} {faults[0]}")
    return StageRun(client, run)


def _faults(run: Any, readable: bool) -> dict[str, bool]:
    """Why a run may not be one to rebuild, with what to do, and whether it is so."""
    info, stage, commit = run.info, run.data.tags.get("stage"), run.data.tags.get("git.commit")
    return {
        "is no run of a stage of this project: take one with the tag `stage`, such as those below a flow's run.": (
            None in (stage, commit)
        ),
        f"was deleted: `mlflow runs restore --run-id {info.run_id}` brings it back.": info.lifecycle_stage != "active",
        f"of {stage} is {info.status}: only what finished can be compared; take a run that did.": (
            info.status != "FINISHED"
        ),
        f"of {stage} was made outside git, so that nothing says which code it ran; commit, and run again.": (
            commit == "none"
        ),
        f"has no artifacts at {shown(info.artifact_uri)}: rebuild it on a machine that can read them.": not readable,
    }


def _surroundings(run: StageRun, packages: str) -> dict[str, str]:
    """Facts of the machine, and the version of each package, of which `packages` has a line."""
    versions = (line.partition("==") for line in packages.splitlines())
    facts = {name: run.tags.get(name, "unknown") for name in FACTS}
    return {**facts, **{f"package {name}": version for name, _, version in versions}}
