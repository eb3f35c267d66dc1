"""Checks of what flows reach elsewhere: MLflow's store, Prefect's server, DVC's default remote."""

import importlib.util
import os
from pathlib import Path

import httpx

from flows.checks import Finding
from flows.errors import TOLD, said
from flows.running.repository import repository
from flows.services.server import FAULTS, ask
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import TIMEOUT, is_server, password, shown, sqlite_file


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
    try:
        settings = ask(url, "settings").json()
    except FAULTS as error:
        remedy = "start that server, correct PREFECT_API_URL or PREFECT_API_AUTH_STRING, or unset both"
        return Finding("Prefect", f"{shown(url)} refuses ({said(error)})", remedy)
    if settings["server"]["analytics_enabled"]:
        remedy = "set PREFECT_SERVER_ANALYTICS_ENABLED=false where that server is started"
        return Finding("Prefect", f"{shown(url)} answers and phones home", remedy)
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
            return Finding("DVC remote", f"{name} does not answer ({said(error)})", "mend it, or `make remote URL=...`")
    return Finding("DVC remote", f"{name} at {remote.path}" + ("" if there else ", empty yet"))


def _server(uri: str) -> Finding:
    page = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        httpx.get(page, timeout=TIMEOUT, **password()).raise_for_status()
    except httpx.HTTPError as error:
        return Finding("MLflow", f"{shown(uri)} refuses ({said(error)})", "correct its address, user or password")
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
        text = f"{shown(uri)} is no database of MLflow ({said(error)})"
        return Finding("MLflow", text, "correct MLFLOW_TRACKING_URI")
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
