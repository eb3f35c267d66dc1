"""A Prefect server for a flow: what PREFECT_API_URL names, that of `make serve`, or one for this flow alone."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.running.process import end_group, end_noted, leave_note
from runtime.errors import StageError
from runtime.tracking.place import shown

SERVED = "http://127.0.0.1:4200/api"  # by `make serve`
TIMEOUT = 5.0  # seconds for an answer
START = 120.0  # seconds for a server's start: a few on an idle machine, more beside eight cells
# Nothing phones home; and a database that is vacuumed does not grow for ever.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
}


@contextmanager
def prefect_server(root: Path) -> Iterator[str]:
    """Prefect uses this server inside; its address.

    Raises:
        StageError: PREFECT_API_URL is set and does not answer, or no server starts.
    """
    os.environ.update(QUIET)
    configured = os.environ.get("PREFECT_API_URL")
    if configured:
        check_password(configured)
        reason = _refusal(configured)
        if reason:
            raise StageError(
                f"Prefect at {shown(configured)} does not answer ({reason}): start that server, "
                "or unset PREFECT_API_URL to have one for this flow."
            )
        yield configured
    elif not _refusal(SERVED):
        with _used(SERVED):
            yield SERVED
    else:
        with _own_server(root) as url, _used(url):
            yield url


def start_server(root: Path, port: int, log: Path) -> subprocess.Popen:
    """A server on this machine whose database is `root/.prefect/prefect.db`; it answers when this returns.

    Raises:
        StageError: it ends, or does not answer in time.
    """
    home = root / ".prefect"
    home.mkdir(exist_ok=True)
    env = {**os.environ, **QUIET, "PREFECT_HOME": str(home)}
    env.setdefault("PREFECT_API_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{home}/prefect.db")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=root, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_for(process, f"http://127.0.0.1:{port}/api", log)
    except BaseException:
        end_group(process.pid)
        raise
    return process


def _wait_for(process: subprocess.Popen, url: str, log: Path) -> None:
    deadline = time.monotonic() + START
    while _refusal(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise StageError(f"The Prefect server does not start: its own words are in {log}.")
        time.sleep(0.1)


@contextmanager
def _own_server(root: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (root / ".prefect").mkdir(exist_ok=True)
    # Not among the groups of stages, which a flow ends when it starts, this server running.
    note = root / ".work" / "servers" / "prefect.txt"
    if note.exists():
        end_noted(note)
    began = time.monotonic()
    process = start_server(root, port, root / ".prefect" / "server.log")
    leave_note(note, process.pid)
    print(f"Started a Prefect server for this flow in {time.monotonic() - began:.1f} s; `make serve` keeps one.")
    try:
        yield f"http://127.0.0.1:{port}/api"
    finally:
        end_group(process.pid)
        process.wait()
        note.unlink(missing_ok=True)


@contextmanager
def _used(url: str) -> Iterator[None]:
    """By the environment, which all threads see; Prefect reads it when it is imported, inside."""
    os.environ["PREFECT_API_URL"] = url
    try:
        yield
    finally:
        del os.environ["PREFECT_API_URL"]
        if "prefect" in sys.modules:
            _send_what_is_left()


def _send_what_is_left() -> None:
    """Logs and events that wait in this process; at its exit Prefect would look for the server for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=TIMEOUT)


def check_password(url: str) -> None:
    """Returns when the server takes the password, or does not answer at all.

    Raises:
        StageError: it refuses.
    """
    request = urllib.request.Request(f"{url.rstrip('/')}/admin/version")
    auth = os.environ.get("PREFECT_API_AUTH_STRING")
    if auth:
        request.add_header("Authorization", "Basic " + b64encode(auth.encode()).decode())
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT).close()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise StageError(
                f"Prefect at {shown(url)} refuses the password: correct PREFECT_API_AUTH_STRING (user:password)."
            ) from None
    except (OSError, ValueError):
        return


def _refusal(url: str) -> str | None:
    """Why a server cannot be used; None when it answers as one."""
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=TIMEOUT).close()
    except urllib.error.HTTPError as error:
        # A password that is wrong shows at the first call; the health page needs none.
        return None if error.code in (401, 403) else f"status {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return None
