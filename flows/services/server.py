"""A Prefect server for a flow: what PREFECT_API_URL names, that of `make serve`, or one for this flow alone."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn

import httpx
import psutil

from flows.running.dvc import repository
from flows.running.housekeeping import only_flow
from flows.running.process import end_group, end_noted, leave_note
from lab.params import load
from runtime.errors import StageError
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import shown
from runtime.tracking.system import find_process

SERVED = "http://127.0.0.1:4200/api"  # by `make serve`
TIMEOUT = 5.0  # seconds for an answer
START = 240.0  # seconds for a start: a few on an idle machine, over 120 where ten busy programs share two cores
LOOK = 0.1  # seconds between looks whether it answers
DATABASES = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
REFUSED = "it refuses the password"
# Nothing phones home; and a database that is vacuumed does not grow for ever.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 24 * 3600),  # seconds since a flow run's end
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",  # else each event that a dead server does not take is an error
    "PREFECT_CLIENT_MAX_RETRIES": "1",  # after 2 s; five, the default, take a minute for each thing to be said
}


@contextmanager
def ready(root: Path) -> Iterator[None]:
    """A flow can run in this workspace inside; Prefect may be imported there, where it finds its server.

    Raises:
        StageError: another flow runs in it, DVC finds no repository, or MLflow or Prefect does not answer or refuses
            the password.
    """
    with only_flow(root), repository(root):
        # The flow itself asks again; but a server takes seconds to start.
        check_answers(tracking_uri(root), load().experiment)
    with prefect_server(root):
        yield


def run_flow(root: Path, flow: str, argument: object) -> NoReturn:
    """Runs a flow and ends this process, with status 1 when the flow did not finish; `flow` is `module:name`.

    One whose server dies goes on: MLflow has its record, and Prefect learns from the next flow that it has ended.

    Raises:
        StageError: as `ready`, or the server dies before the flow begins.
    """
    with ready(root):
        state, lost = _ran(resolve_name(flow), argument)  # imports Prefect
    if lost:
        print("Prefect's server has died under the flow, which went on without it: MLflow has the record.", flush=True)
    if not state.is_completed():
        print(f"The {flow.partition(':')[2]} did not finish: {state.message}", file=sys.stderr, flush=True)
    os._exit(not state.is_completed())  # exit handlers of MLflow take a second, and Prefect's look for the server


def _ran(flow: Callable, argument: object) -> tuple[Any, bool]:
    """The flow's last state, and whether its server could not be told."""
    from flows.running.tasks import ENDED

    # What Prefect cannot tell its server it would tell the terminal, with tracebacks.
    logging.raiseExceptions = False
    logging.getLogger("prefect.events.clients").setLevel(logging.CRITICAL)
    try:
        return flow(argument, return_state=True), False
    except httpx.HTTPError as error:
        if not ENDED:
            raise StageError(f"Prefect's server has died ({error}): run the flow again.") from None
        return ENDED[-1], True


@contextmanager
def prefect_server(root: Path) -> Iterator[str]:
    """Prefect uses this server inside; its address.

    Raises:
        StageError: PREFECT_API_URL is set and does not answer or refuses the password, or no server starts.
    """
    os.environ.update(QUIET)
    configured = os.environ.get("PREFECT_API_URL")
    if configured:
        _check(configured)
        yield configured
        return
    with _server_here(root) as url, _used(url):
        yield url


def start_server(root: Path, port: int, log: Path) -> subprocess.Popen:
    """A server on this machine whose database is `root/.prefect/prefect.db`; it answers when this returns.

    Raises:
        StageError: it ends, or does not answer in time.
    """
    home = root / ".prefect"
    home.mkdir(exist_ok=True)
    env = {**os.environ, **QUIET, "PREFECT_HOME": str(home)}
    if not any(name in os.environ for name in DATABASES):
        # As seen from `root`: Prefect takes a `?` or `%` in an address for something else, and makes odd folders.
        env[DATABASES[0]] = f"sqlite+aiosqlite:///{home.name}/prefect.db"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = start_service(command, root, env, log)
    try:
        wait_for(process, f"http://127.0.0.1:{port}/api/health", "The Prefect server", log)
    except BaseException:
        end_group(process.pid)
        raise
    return process


def check_port(number: int, another: str) -> None:
    """Returns when a port of this machine is free; `another` says how another one is chosen.

    Raises:
        StageError: it is not, there is none, or this user may not have it.
    """
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OverflowError:
            raise StageError(f"There is no port {number}: choose one from 1 to 65535 ({another}).") from None
        except OSError:
            raise StageError(f"Port {number} is taken: stop what has it, or choose another ({another}).") from None


def mlflow_server(root: Path, uri: str, port: int) -> list[str]:
    """The command of MLflow's pages."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [*command, "--backend-store-uri", uri, "--default-artifact-root", (root / "mlartifacts").as_uri()]


def start_service(command: Sequence[str], root: Path, env: Mapping[str, str], log: Path) -> subprocess.Popen:
    """A program that serves, in a group of its own; what it says goes into `log`."""
    with log.open("w") as output:
        return subprocess.Popen(
            command, cwd=root, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def wait_for(process: subprocess.Popen, page: str, name: str, log: Path) -> None:
    """Returns when a service answers at `page`.

    Raises:
        StageError: it has ended, or does not in time.
    """
    deadline = time.monotonic() + START
    while not _answers(page):
        if process.poll() is not None or time.monotonic() > deadline:
            raise StageError(f"{name} does not start: its own words are in {log}.")
        time.sleep(LOOK)


@contextmanager
def _server_here(root: Path) -> Iterator[str]:
    """That of `make serve`, that of another process here that lives, or one for as long as this process needs it."""
    note = root / ".work" / "servers" / "prefect.txt"
    url = _of_another(note) if _refusal(SERVED) else SERVED
    if url:
        yield url
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began, url = time.monotonic(), f"http://127.0.0.1:{port}/api"
    process = start_server(root, port, root / ".prefect" / "server.log")
    try:
        leave_note(note, process.pid, url, str(os.getpid()), str(psutil.Process().create_time()))
        print(f"Started a Prefect server for this flow in {time.monotonic() - began:.1f} s; `make serve` keeps one.")
        yield url
    finally:
        end_group(process.pid)
        process.wait()
        note.unlink(missing_ok=True)


def _of_another(note: Path) -> str | None:
    """The address in the note of a process that lives; the server of one that was killed is ended."""
    if not note.exists():
        return None
    url, pid, started = note.read_text().split()[-3:]
    if find_process(int(pid), float(started)):
        return url
    end_noted(note)
    return None


@contextmanager
def _used(url: str) -> Iterator[None]:
    """By the environment, which all threads see; Prefect reads it when it is imported, inside."""
    os.environ["PREFECT_API_URL"] = url
    try:
        yield
    finally:
        del os.environ["PREFECT_API_URL"]
        if "prefect" in sys.modules and _refusal(url) is None:
            from prefect.events.worker import EventsWorker
            from prefect.logging.handlers import APILogWorker

            # Sends what waits in this process; at its exit Prefect would look for the server for a minute.
            for worker in (APILogWorker, EventsWorker):
                worker.drain_all(timeout=TIMEOUT)


def _check(url: str) -> None:
    """Returns when a server can be used.

    Raises:
        StageError: it does not answer as one, or refuses the password.
    """
    reason = _refusal(url)
    if reason == REFUSED:
        raise StageError(
            f"Prefect at {shown(url)} refuses the password: correct PREFECT_API_AUTH_STRING (user:password)."
        )
    if reason:
        raise StageError(
            f"Prefect at {shown(url)} does not answer ({reason}): start that server, or unset PREFECT_API_URL to have "
            "one for this flow."
        )


def _refusal(url: str) -> str | None:
    """Why a server cannot be used; None when it answers as one, to this password."""
    user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    auth = (user, password) if user else None
    try:
        answer = httpx.get(f"{url.rstrip('/')}/admin/version", auth=auth, timeout=TIMEOUT, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    if answer.status_code in (401, 403):
        return REFUSED
    return None if answer.is_success else f"status {answer.status_code}"


def _answers(page: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(page, timeout=TIMEOUT).is_success
    return False
