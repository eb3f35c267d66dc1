"""Where the MLflow store is, and whether it takes runs."""

import os
import re
import socket
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from runtime.errors import StageError

HOME = "DVC_ROOT"
TIMEOUT = 5.0  # seconds for a server's first sign of life
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
MAGIC = b"SQLite format 3\0"  # what a file of SQLite begins with
SQLITE = re.compile(r"sqlite(?:\+\w+)?:///")
OTHERS = ("databricks", "databricks-uc")  # stores that are named without an address


def tracking_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite file beside the repository; absolute, since stages may run elsewhere.

    Raises:
        StageError: the variable names no store that keeps runs.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not given:
        return sqlite_uri(home(root) / "mlflow.db")
    if SQLITE.match(given):
        file, query = _sqlite_parts(given, home(root))
        if file.name != ":memory:" and file != home(root):
            return sqlite_uri(file) + query
    elif ("://" in given and urlsplit(given).scheme not in ("sqlite", "file")) or given in OTHERS:
        return given
    raise StageError(
        f"MLFLOW_TRACKING_URI is {shown(given)}, but must be the address of a server (http://HOST:PORT), of an SQLite "
        "file (sqlite:///mlflow.db) or of another database; correct it, or unset it to have mlflow.db here."
    )


def home(root: Path) -> Path:
    """The repository that `root` is a workspace of, which may be removed with all that is in it; else `root` itself.

    DVC says so to the stages of an experiment that runs in a copy, and flows to all that they start in one.
    """
    return Path(os.environ.get(HOME) or root).resolve()


def sqlite_uri(file: Path) -> str:
    """The address of an SQLite file, whatever characters its path has: `?` begins a query there and `%` an escape."""
    escaped = re.sub("[%?#]", lambda found: quote(found[0]), str(file))
    # By this name of the driver MLflow does not make the folder that the escapes would name.
    return ("sqlite:///" if escaped == str(file) else "sqlite+pysqlite:///") + escaped


def sqlite_file(uri: str) -> Path | None:
    """The file behind an SQLite address; None for another store."""
    return _sqlite_parts(uri, Path.cwd())[0] if SQLITE.match(uri) else None


def _sqlite_parts(uri: str, home: Path) -> tuple[Path, str]:
    """File, relative ones below `home`, and query of an address, which people write without escapes too."""
    written = home / SQLITE.sub("", uri, count=1)
    path, mark, query = str(written).partition("?")
    if "=" not in query:
        path, mark, query = str(written), "", ""
    # Escapes, unless there is no such folder: people write paths as they are.
    return Path(unquote(path) if Path(unquote(path)).parent.is_dir() else path), mark + query


def artifact_location(uri: str, root: Path) -> str | None:
    """The folder for artifacts: beside an SQLite file, in the repository for another database; a server chooses."""
    if is_server(uri):
        return None
    database = sqlite_file(uri)
    return ((database.parent if database else home(root)) / "mlartifacts").as_uri()


def is_server(uri: str) -> bool:
    """Whether the store is an MLflow server."""
    return urlsplit(uri).scheme in ("http", "https")


def is_remote(uri: str) -> bool:
    """Whether the store is reached over the network."""
    return urlsplit(uri).hostname is not None


def shown(uri: str) -> str:
    """The address without a password."""
    return re.sub(r"//[^/]*@", "//", uri)


def check_answers(uri: str, experiment: str | None = None) -> None:
    """Returns when the store answers and, where an experiment is named, takes its runs.

    Raises:
        ConnectionError: it does not within `TIMEOUT`.
        StageError: it is a file that cannot be written, a server that refuses the password, or the experiment was
            deleted there.
    """
    database = sqlite_file(uri)
    if database:
        _check_file(database, experiment)
    elif is_remote(uri):
        _check_network(uri, experiment)


def _check_file(database: Path, experiment: str | None) -> None:
    if not database.parent.is_dir():
        raise StageError(
            f"{database.parent} is no folder, so MLflow cannot have {database}: correct MLFLOW_TRACKING_URI."
        )
    if database.is_file() and _beginning(database) not in (b"", MAGIC):
        raise StageError(f"{database} is no database of MLflow (no SQLite file): correct MLFLOW_TRACKING_URI.")
    if experiment is None:
        return
    # SQLite writes a journal beside its file.
    closed = [path for path in (database.parent, database) if path.exists() and not os.access(path, os.W_OK)]
    if closed:
        raise StageError(
            f"{closed[0]} cannot be written by this user, and MLflow has its records there: "
            f"`chmod u+w` or `chown` it, or set MLFLOW_TRACKING_URI to another store."
        )
    if not database.exists():
        return
    asked = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'deleted'"
    try:
        # One without tables yet is for MLflow to fill.
        with closing(sqlite3.connect(database)) as connection, suppress(sqlite3.OperationalError):
            for (number,) in connection.execute(asked, [experiment]):
                raise deleted(experiment, number, sqlite_uri(database))
    except sqlite3.DatabaseError as error:
        raise StageError(f"{database} is no database of MLflow ({error}): correct MLFLOW_TRACKING_URI.") from None


def _beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(MAGIC))


def _check_network(uri: str, experiment: str | None) -> None:
    import httpx  # takes .1 s

    parts, answer = urlsplit(uri), None
    try:
        if is_server(uri):
            page = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/get-by-name"
            asked = {"experiment_name": experiment or "Default"}
            answer = httpx.get(page, params=asked, timeout=TIMEOUT, **password())
        else:
            port = parts.port or DATABASE_PORTS[parts.scheme.partition("+")[0]]
            socket.create_connection((parts.hostname, port), TIMEOUT).close()
    except (OSError, httpx.HTTPError) as error:
        raise ConnectionError(
            f"MLflow at {shown(uri)} does not answer ({error}); "
            "start that server or correct MLFLOW_TRACKING_URI (unset, runs go to mlflow.db here)."
        ) from None
    if answer is None:
        return
    if answer.status_code in (401, 403):  # whether another answer is the wrong one, the recorder will say
        raise StageError(
            f"MLflow at {shown(uri)} refuses the password: correct MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        )
    with suppress(ValueError, KeyError):  # no such experiment yet
        found = answer.json()["experiment"]
        if experiment and found["lifecycle_stage"] == "deleted":
            raise deleted(experiment, found["experiment_id"], uri)


def deleted(experiment: str, number: object, uri: str) -> StageError:
    """What to say of an experiment in MLflow's bin, which takes no runs."""
    return StageError(
        f"Experiment {experiment} was deleted in MLflow: `MLFLOW_TRACKING_URI={shown(uri)} mlflow experiments restore "
        f"--experiment-id {number}` brings it back, or call it otherwise in params.yaml (`experiment`)."
    )


def password() -> dict[str, object]:
    """What the environment says of who asks, for httpx, which finds a user in the address by itself."""
    user, token = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "TOKEN"))
    if user:
        return {"auth": (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))}
    return {"headers": {"Authorization": f"Bearer {token}"}} if token else {}
