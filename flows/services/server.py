"""Programs that serve, and a Prefect server for a flow: PREFECT_API_URL's, that of `make serve`, or its own."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn

import httpx
import psutil

from flows.errors import said
from flows.running.housekeeping import only_flow
from flows.running.process import end_group, end_left, leave_note
from flows.running.repository import environment, repository
from lab.params import load
from runtime.errors import StageError
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import shown

HOST = "127.0.0.1"
SERVED = f"http://{HOST}:4200/api"  # by `make serve`
HOME = ".prefect"  # its database, and what services say
NOTES = Path(".work") / "servers"
TIMEOUT = 5.0  # seconds for an answer
START = 240.0  # seconds for a start: a few on an idle machine, over 120 where ten busy programs share two cores
LOOK = 0.1  # seconds between looks whether it answers
DATABASES = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
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
FAULTS = (httpx.HTTPError, httpx.InvalidURL)  # of asking a server


def run_flow(root: Path, flow: str, argument: object) -> NoReturn:
    """Runs a flow and ends this process, with status 1 when the flow did not finish; `flow` is `module:name`.

    One whose server dies goes on: MLflow has its record, and Prefect learns from the next flow that it has ended.

    Raises:
        StageError: another flow runs here, DVC finds no repository, MLflow or Prefect does not answer or refuses the
            password, or the server dies before the flow begins.
    """
    with only_flow(root), repository(root):
        # The flow itself asks again; but a server takes seconds to start.
        check_answers(tracking_uri(root), load().experiment)
    with prefect_server(root):
        state, lost = _ran(resolve_name(flow), argument)  # imports Prefect, which reads where its server is
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
    """Prefect uses this server in this process from now on, and it lives inside; its address.

    Raises:
        StageError: PREFECT_API_URL is set and does not answer or refuses the password, or no server starts.
    """
    os.environ.update(QUIET)
    if configured := os.environ.get("PREFECT_API_URL"):
        _check(configured)
        yield configured
        return
    with _server_here(root) as url:
        os.environ["PREFECT_API_URL"] = url
        try:
            yield url
        finally:
            _send_rest(url)


@dataclass(frozen=True)
class Service:
    """A program that serves; what it says is in `log`."""

    process: subprocess.Popen
    log: Path

    def wait_for(self, page: str, name: str) -> None:
        """Returns when it answers at `page`.

        Raises:
            StageError: it has ended, or does not in time.
        """
        deadline = time.monotonic() + START
        while not _answers(page):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StageError(f"{name} does not start: its own words are in {self.log}.")
            time.sleep(LOOK)


@contextmanager
def service(module: Sequence[str], root: Path, env: Mapping[str, str], note: Path, *more: str) -> Iterator[Service]:
    """A module's command that serves, in a group of its own, which is ended after the block.

    Args:
        note: a file that names its process, `more`, and this process, for whoever finds this one killed.
    """
    log = root / HOME / f"{note.stem}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        command, words = [sys.executable, "-m", *module], {"stdout": output, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, cwd=root, env=env, start_new_session=True, **words)
    try:
        leave_note(note, process.pid, *more, str(os.getpid()), str(psutil.Process().create_time()))
        yield Service(process, log)
    finally:
        end_group(process.pid)
        process.wait()
        note.unlink(missing_ok=True)


@contextmanager
def start_server(root: Path, port: int, note: Path) -> Iterator[Service]:
    """A Prefect server on this machine that answers, with the database `root/.prefect/prefect.db`; see `service`.

    Raises:
        StageError: it ends, or does not answer in time.
    """
    url = f"http://{HOST}:{port}/api"
    env = {**os.environ, **QUIET, "PREFECT_HOME": str(root / HOME)}
    if not any(name in os.environ for name in DATABASES):
        # As seen from `root`: Prefect takes a `?` or `%` in an address for something else, and makes odd folders.
        env[DATABASES[0]] = f"sqlite+aiosqlite:///{HOME}/prefect.db"
    command = ["prefect", "server", "start", "--host", HOST, "--port", str(port)]
    with service(command, root, env, note, url) as server:
        server.wait_for(f"{url}/health", "The Prefect server")
        yield server


def mlflow_server(root: Path, uri: str, port: int, note: Path) -> AbstractContextManager[Service]:
    """MLflow's pages for the runs in the store `uri`; see `service`."""
    command = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", uri, "--default-artifact-root", (root / "mlartifacts").as_uri()]
    return service(command, root, environment(root, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"), note)


def free_port(number: int = 0, another: str = "") -> int:
    """A port of this machine that is free, this one if it is named; `another` says how another one is chosen.

    Raises:
        StageError: it is taken, there is none, or this user may not have it.
    """
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
        except OverflowError:
            raise StageError(f"There is no port {number}: choose one from 1 to 65535 ({another}).") from None
        except OSError:
            raise StageError(f"Port {number} is taken: stop what has it, or choose another ({another}).") from None
        return probe.getsockname()[1]


def ask(url: str, page: str) -> httpx.Response:
    """What a Prefect server says of itself to this environment's user.

    Raises:
        httpx.HTTPError, httpx.InvalidURL: it does not answer, or refuses.
    """
    user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    auth = (user, password) if user else None
    page = f"{url.rstrip('/')}/admin/{page}"
    return httpx.get(page, auth=auth, timeout=TIMEOUT, follow_redirects=True).raise_for_status()


@contextmanager
def _server_here(root: Path) -> Iterator[str]:
    """That of `make serve`, that of another process here that lives, or one for as long as this process needs it."""
    note = root / NOTES / "prefect.txt"
    end_left(note)  # the server of a process that was killed
    running = note.read_text().split()[2] if note.exists() else None
    if url := running if _fault(SERVED) else SERVED:
        yield url
        return
    port, began = free_port(), time.monotonic()
    with start_server(root, port, note):
        print(f"Started a Prefect server for this flow in {time.monotonic() - began:.1f} s; `make serve` keeps one.")
        yield f"http://{HOST}:{port}/api"


def _send_rest(url: str) -> None:
    """Sends what waits in this process; at its exit Prefect would look for the server for a minute."""
    if "prefect" in sys.modules and _fault(url) is None:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        for worker in (APILogWorker, EventsWorker):
            worker.drain_all(timeout=TIMEOUT)


def _check(url: str) -> None:
    fault = _fault(url)
    if isinstance(fault, httpx.HTTPStatusError) and fault.response.status_code in (401, 403):
        raise StageError(
            f"Prefect at {shown(url)} refuses the password: correct PREFECT_API_AUTH_STRING (user:password)."
        )
    if fault:
        raise StageError(
            f"Prefect at {shown(url)} does not answer ({said(fault)}): start that server, or unset PREFECT_API_URL to "
            "have one for this flow."
        )


def _fault(url: str) -> Exception | None:
    """Why a server cannot be used; None when it answers as one, to this password."""
    try:
        ask(url, "version")
    except FAULTS as error:
        return error
    return None


def _answers(page: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(page, timeout=TIMEOUT).is_success
    return False
