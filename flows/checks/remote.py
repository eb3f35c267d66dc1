"""Checks of what flows reach elsewhere: MLflow's store, Prefect's server, DVC's default remote."""

import importlib.util
import os
from pathlib import Path

from flows.checks import Finding
from flows.errors import TOLD
from flows.running.dvc import repository
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import is_server, shown, sqlite_file


def check_mlflow(root: Path) -> Finding:
    """Whether the store answers, and whether its tables are those of this MLflow."""
    uri = tracking_uri(root)
    database = sqlite_file(uri)
    if database and not database.exists():
        return Finding("MLflow", f"no database yet; the first run makes {database}")
    try:
        check_answers(uri)
    except TOLD as error:
        return Finding("MLflow", str(error), "mend that, or unset MLFLOW_TRACKING_URI")
    return _server(uri) if is_server(uri) else _database(uri)


def check_prefect(root: Path) -> Finding:
    """Whether the server that PREFECT_API_URL names answers to its user."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Finding("Prefect", "PREFECT_API_URL is not set; a flow uses `make serve`, or a server of its own")
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    remedy = "start that server, correct PREFECT_API_URL or PREFECT_API_AUTH_STRING, or unset both"
    try:
        with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
            client.read_work_pools(limit=1)  # which needs the password, where there is one
            if client.request("GET", "/admin/settings").json()["server"]["analytics_enabled"]:
                return Finding(
                    "Prefect",
                    f"{shown(url)} answers and phones home",
                    "set PREFECT_SERVER_ANALYTICS_ENABLED=false where that server is started",
                )
    except httpx.HTTPError as error:
        said = str(error).splitlines() or [type(error).__name__]
        return Finding("Prefect", f"{shown(url)} refuses ({said[0]})", remedy)
    return Finding("Prefect", f"{shown(url)} answers")


def check_remote(root: Path) -> Finding:
    """Whether what is pushed has a place that answers; to an empty one nothing was pushed yet."""
    with repository(root) as repo:
        name = repo.config["core"].get("remote")
        if not name:
            return Finding("DVC remote", "none; `make remote URL=...` sets one")
        try:
            remote = repo.cloud.get_remote()
            there = remote.fs.exists(remote.path)
            if not there:
                _check_above(remote.fs, remote.path)
        except Exception as error:  # each kind of remote has errors of its own
            said = str(error).splitlines()[0]
            return Finding("DVC remote", f"{name} does not answer ({said})", "mend it, or `make remote URL=...`")
    return Finding("DVC remote", f"{name} at {remote.path}" + ("" if there else ", empty yet"))


def _server(uri: str) -> Finding:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    os.environ.update(MLFLOW_HTTP_REQUEST_TIMEOUT="5", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    try:
        MlflowClient(uri).search_experiments(max_results=1)
    except MlflowException as error:
        said = str(error).splitlines()[0]
        return Finding("MLflow", f"{shown(uri)} refuses ({said})", "correct its address, user or password")
    return Finding("MLflow", f"{shown(uri)} answers")


def _database(uri: str) -> Finding:
    import sqlalchemy
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    # MLflow's own migrations, without importing MLflow.
    migrations = Path(importlib.util.find_spec("mlflow").origin).parent / "store" / "db_migrations"
    head = ScriptDirectory(str(migrations)).get_current_head()
    try:
        with sqlalchemy.create_engine(uri).connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except sqlalchemy.exc.SQLAlchemyError as error:
        said = str(error).splitlines()[0]
        return Finding("MLflow", f"{shown(uri)} is no database of MLflow ({said})", "correct MLFLOW_TRACKING_URI")
    if found != head:
        text = f"{shown(uri)} has tables of version {found}, and this MLflow those of {head}"
        return Finding("MLflow", text, f"keep a copy, then `mlflow db upgrade {shown(uri)}`")
    return Finding("MLflow", f"{shown(uri)}, tables of version {head}")


def _check_above(fs, path: str) -> None:
    """Returns when the first push can make the remote: in a folder that can be written, in a bucket that exists.

    Raises:
        OSError: it cannot.
    """
    if fs.protocol == "local":
        above = next(folder for folder in Path(path).parents if folder.exists())
        if not (above.is_dir() and os.access(above, os.W_OK)):
            raise PermissionError(f"{above} is no folder that can be written")
    elif not fs.exists(fs.parts(path)[0]):
        raise FileNotFoundError(f"there is no bucket {fs.parts(path)[0]}")
