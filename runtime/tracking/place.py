"""Where the MLflow store is, and whether it answers."""

import os
import re
import socket
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

from runtime.errors import StageError

TIMEOUT = 5.0  # seconds for a server's first sign of life
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def tracking_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite file beside the repository; absolute, since stages may run elsewhere."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve()}/mlflow.db"


def sqlite_file(uri: str) -> Path | None:
    """The file behind an SQLite address; None for another store."""
    return Path(uri.removeprefix("sqlite:///")).resolve() if uri.startswith("sqlite:///") else None


def artifact_location(uri: str, root: Path) -> str | None:
    """The folder for artifacts: beside an SQLite file, in the repository for another database; a server chooses."""
    if is_server(uri):
        return None
    database = sqlite_file(uri)
    return ((database.parent if database else root.resolve()) / "mlartifacts").as_uri()


def is_server(uri: str) -> bool:
    """Whether the store is an MLflow server."""
    return urlsplit(uri).scheme in ("http", "https")


def is_remote(uri: str) -> bool:
    """Whether the store is reached over the network."""
    return urlsplit(uri).hostname is not None


def shown(uri: str) -> str:
    """The address without a password."""
    return re.sub(r"//[^/]*@", "//", uri)


def check_answers(uri: str) -> None:
    """Returns when the store answers, or is a file.

    Raises:
        ConnectionError: it does not within `TIMEOUT`.
        StageError: it is a server that refuses the password.
    """
    if not is_remote(uri):
        return
    try:
        _knock(uri)
    except OSError as error:  # urllib's URLError is one
        raise ConnectionError(
            f"MLflow at {shown(uri)} does not answer ({getattr(error, 'reason', error)}); "
            "start that server or correct MLFLOW_TRACKING_URI (unset, runs go to mlflow.db here)."
        ) from None


def _with_password(uri: str) -> urllib.request.Request:
    """A request for as little as a server tells nobody without a password."""
    parts = urlsplit(uri)
    bare = uri.replace(f"{parts.username}:{parts.password}@", "") if parts.username else uri
    request = urllib.request.Request(f"{bare.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1")
    user = os.environ.get("MLFLOW_TRACKING_USERNAME", parts.username)
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD", parts.password)
    if user:
        request.add_header("Authorization", "Basic " + b64encode(f"{user}:{password}".encode()).decode())
    elif "MLFLOW_TRACKING_TOKEN" in os.environ:
        request.add_header("Authorization", f"Bearer {os.environ['MLFLOW_TRACKING_TOKEN']}")
    return request


def _knock(uri: str) -> None:
    if is_server(uri):
        try:
            urllib.request.urlopen(_with_password(uri), timeout=TIMEOUT).close()
        except urllib.error.HTTPError as error:  # an answer, and the recorder will say if it is the wrong one
            if error.code in (401, 403):
                raise StageError(
                    f"MLflow at {shown(uri)} refuses the password: correct MLFLOW_TRACKING_USERNAME and "
                    "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
                ) from None
        return
    parts = urlsplit(uri)
    port = parts.port or DATABASE_PORTS[parts.scheme.partition("+")[0]]
    socket.create_connection((parts.hostname, port), TIMEOUT).close()
