"""MLflow runs that their user has deleted, and those that one may want to delete."""

import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flows.garbage import Garbage
from flows.running.repro import environment
from runtime.errors import StageError
from runtime.tracking import tracking_uri
from runtime.tracking.place import is_server, sqlite_file

DAY = 24 * 3600 * 1000  # milliseconds
CALL = 1000  # runs that one command is given


def deleted_runs(root: Path, words: frozenset[str]) -> Garbage:
    """Runs in MLflow's bin with their artifacts, but for those that a live run names, as its parent say."""
    uri = tracking_uri(root)
    deleted = _runs(uri, "DELETED_ONLY")
    unused = [run for run in deleted if run.info.run_id not in words]
    text = f"{len(unused)} deleted runs"
    items = _lines(unused)
    if is_server(uri):
        return Garbage("MLflow", f"{text}; `mlflow gc` removes them where the server's database is", items)
    # With a deleted experiment `mlflow gc` takes all of its runs, whatever runs it is told.
    bin_of = {found.experiment_id for found in _experiments(uri) if found.lifecycle_stage == "deleted"}
    named = [run for run in deleted if run.info.run_id in words and run.info.experiment_id in bin_of]
    if named:
        reason = f"left alone: live runs name {named[0].info.run_id} of a deleted experiment; restore that one first"
        return Garbage("MLflow", f"{text}, {reason}", items)
    size = sum(_size(run.info.artifact_uri) for run in unused)
    return Garbage("MLflow", text, items, size, lambda: _remove(root, [run.info.run_id for run in unused]))


def old_failures(root: Path, days: float) -> Garbage:
    """Runs that failed or were killed long ago: shown and never removed, since only their user knows their worth."""
    before = time.time() * 1000 - days * DAY
    runs = [
        run
        for status in ("FAILED", "KILLED")
        for run in _runs(tracking_uri(root), "ACTIVE_ONLY", f"attributes.status = '{status}'")
        if run.info.start_time < before
    ]
    text = f"{len(runs)} runs that failed more than {days:g} days ago are kept until you delete them in MLflow"
    return Garbage("MLflow", text, _lines(runs))


def _experiments(uri: str) -> list:
    """All experiments, deleted ones too; none where there is no database yet."""
    database = sqlite_file(uri)
    if database and not database.exists():
        return []
    from mlflow.entities import ViewType
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri).search_experiments(view_type=ViewType.ALL)


def _runs(uri: str, view: str, filter_string: str = "") -> list:
    experiments = [found.experiment_id for found in _experiments(uri)]
    if not experiments:
        return []
    from mlflow.entities import ViewType
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    found, token = [], ""
    while token is not None:
        page = client.search_runs(experiments, filter_string, getattr(ViewType, view), page_token=token or None)
        found += page
        token = page.token or None
    return found


def _lines(runs: list) -> tuple[str, ...]:
    return tuple(f"{run.info.run_id}  {run.info.run_name}  {run.info.status}" for run in runs)


def _size(artifacts: str) -> int:
    """Bytes of a run's artifacts, where they are a folder of this machine."""
    if urlsplit(artifacts).scheme not in ("", "file"):
        return 0
    folder = Path(unquote(urlsplit(artifacts).path))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _remove(root: Path, ids: list[str]) -> None:
    """By MLflow's own command, which also takes what else belongs to a run."""
    env = environment(root)
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", env["MLFLOW_TRACKING_URI"], "--run-ids"]
    for start in range(0, len(ids), CALL):
        chunk = ",".join(ids[start : start + CALL])
        done = subprocess.run([*command, chunk], cwd=root, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise StageError(f"`mlflow gc` failed: {said[-1]}")
