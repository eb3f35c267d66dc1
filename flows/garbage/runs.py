"""MLflow's runs: what live ones refer to, those that their user has deleted, and those that one may want to delete."""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow.entities import Run, ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.store.entities import PagedList
from mlflow.tracking import MlflowClient
from mlflow.utils import get_results_from_paginated_fn

from flows.garbage import Garbage
from flows.running.repository import environment
from runtime.errors import StageError
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import is_server, sqlite_file, sqlite_uri

DAY = 24 * 3600 * 1000  # milliseconds
CALL = 1000  # runs that one command is given, and that one answer lists


def live_words(root: Path) -> frozenset[str]:
    """Every word in the tags of runs that are not deleted: hashes of inputs and outputs, ids of other runs.

    With them the ids of runs whose models are registered. Of the store that is configured, and of the database beside
    the repository where that is another one.

    Raises:
        ConnectionError: a store does not answer, so that nobody knows what its runs refer to.
    """
    stores = {tracking_uri(root), sqlite_uri(root.resolve() / "mlflow.db")}
    values = [value for uri in stores for run in all_runs(uri) for value in run.data.tags.values()]
    registered = [version.run_id for uri in stores for version in _all(uri, _versions) if version.run_id]
    return frozenset([*registered, *(word for value in values for word in value.split())])


def deleted_runs(root: Path, words: frozenset[str]) -> Garbage:
    """Runs in MLflow's bin with their artifacts, but for those that a live run names, as its parent say."""
    uri = tracking_uri(root)
    deleted = all_runs(uri, view=ViewType.DELETED_ONLY)
    unused = [run for run in deleted if run.info.run_id not in words]
    text = f"{len(unused)} deleted runs"
    items = _lines(unused)
    if is_server(uri):
        return Garbage("MLflow", f"{text}; `mlflow gc` removes them where the server's database is", items)
    # With a deleted experiment `mlflow gc` takes all of its runs, whatever runs it is told.
    experiments = {run.info.experiment_id for run in deleted if run.info.run_id in words}
    named = [found for found in experiments if MlflowClient(uri).get_experiment(found).lifecycle_stage == "deleted"]
    if named:
        reason = f"left alone: live runs name some of experiment {named[0]}, which is deleted too; restore that first"
        return Garbage("MLflow", f"{text}, {reason}", items)
    size = sum(_size(run.info.artifact_uri) for run in unused)
    return Garbage("MLflow", text, items, size, lambda: _remove(root, [run.info.run_id for run in unused]))


def old_failures(root: Path, days: float) -> Garbage:
    """Runs that failed or were killed long ago: shown and never removed, since only their user knows their worth."""
    ended = "attributes.status != 'FINISHED' and attributes.status != 'RUNNING'"
    long_ago = f"attributes.start_time < {int(time.time() * 1000 - days * DAY)}"
    runs = all_runs(tracking_uri(root), f"{ended} and {long_ago}")
    text = f"{len(runs)} runs that failed more than {days:g} days ago are kept until you delete them in MLflow"
    return Garbage("MLflow", text, _lines(runs))


def all_runs(uri: str, filter_string: str = "", view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """Runs of all experiments, deleted ones too; none where there is no database yet.

    Raises:
        ConnectionError: the store does not answer.
    """

    def page(client: MlflowClient, size: int, token: str | None) -> PagedList[Run]:
        experiments = [experiment.experiment_id for experiment in client.search_experiments(ViewType.ALL)]
        return client.search_runs(experiments, filter_string, view, size, page_token=token)

    return _all(uri, page)


def _versions(client: MlflowClient, size: int, token: str | None) -> PagedList[ModelVersion]:
    return client.search_model_versions(max_results=size, page_token=token)


def _all(uri: str, page: Callable[[MlflowClient, int, str | None], PagedList]) -> list:
    database = sqlite_file(uri)
    if database and not database.exists():
        return []
    check_answers(uri)
    return get_results_from_paginated_fn(partial(page, MlflowClient(uri)), CALL)


def _lines(runs: list[Run]) -> tuple[str, ...]:
    return tuple(f"{run.info.run_id}  {run.info.run_name}  {run.info.status}" for run in runs)


def _size(artifacts: str) -> int:
    """Bytes of a run's artifacts, where they are a folder of this machine."""
    files = Path(unquote(urlsplit(artifacts).path)).rglob("*") if urlsplit(artifacts).scheme in ("", "file") else ()
    return sum(path.stat().st_size for path in files if path.is_file())


def _remove(root: Path, ids: list[str]) -> None:
    """By MLflow's own command, which also takes what else belongs to a run."""
    env = environment(root)
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", env["MLFLOW_TRACKING_URI"], "--run-ids"]
    for start in range(0, len(ids), CALL):
        chunk = ",".join(ids[start : start + CALL])
        done = subprocess.run([*command, chunk], cwd=root, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            last = done.stderr.strip().rpartition("\n")[2]
            raise StageError(f"`mlflow gc` failed: {last}")
