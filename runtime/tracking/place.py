"""Where the MLflow store is, and whether it answers."""

import os
import re
import socket
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
    import httpx  # takes .1 s

    parts = urlsplit(uri)
    status = None
    try:
        if is_server(uri):
            little = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1"
            status = httpx.get(little, timeout=TIMEOUT, **password()).status_code
        else:
            port = parts.port or DATABASE_PORTS[parts.scheme.partition("+")[0]]
            socket.create_connection((parts.hostname, port), TIMEOUT).close()
    except (OSError, httpx.HTTPError) as error:
        raise ConnectionError(
            f"MLflow at {shown(uri)} does not answer ({error}); "
            "start that server or correct MLFLOW_TRACKING_URI (unset, runs go to mlflow.db here)."
        ) from None
    if status in (401, 403):  # whether another answer is the wrong one, the recorder will say
        raise StageError(
            f"MLflow at {shown(uri)} refuses the password: correct MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        )


def password() -> dict[str, object]:
    """What the environment says of who asks, for httpx, which finds a user in the address by itself."""
    user, token = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "TOKEN"))
    if user:
        return {"auth": (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))}
    return {"headers": {"Authorization": f"Bearer {token}"}} if token else {}
