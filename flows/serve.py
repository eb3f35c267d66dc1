"""Keeps one machine's services running until Ctrl-C: Prefect with its schedules, a worker, and MLflow."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from flows.errors import told
from flows.running.dvc import environment
from flows.running.process import end_group, end_noted, leave_note
from flows.running.record import PAGES
from flows.services.deploy import POOL, deploy, relink
from flows.services.server import QUIET, check_port, mlflow_server, start_server, start_service, wait_for
from runtime.errors import StageError
from runtime.execution.lock import if_free
from runtime.tracking import tracking_uri
from runtime.tracking.place import is_server, shown

NOTES = Path(".work") / "serve"  # a file for each service: its process group
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PARTING = 22.0  # seconds that flows have to stop their stages: two more than they give these
LOOK = 0.5  # seconds between looks


def main() -> None:
    """Serves; status 1 and a sentence where that cannot be, or when a service ends by itself."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="of MLflow (default: 5000)")
    parser.add_argument("--prefect-port", type=int, default=4200, help="of Prefect (default: 4200)")
    options = parser.parse_args()
    root = Path.cwd()
    # SIGTERM and a terminal that closes do what Ctrl-C does. So does SIGINT itself: what a shell starts in the
    # background ignores it, and so would the worker, which ends by it.
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        with told(), _only_one(root):
            _check_ports(root, options.port, options.prefect_port)
            with _services(root, options.port, options.prefect_port) as running:
                _watch(root, running)
    except KeyboardInterrupt:
        print("Stopped.")


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Holds the repository for one `make serve`, and ends what a killed one has left running."""
    with if_free(root / ".work" / "locks" / "serve.lock") as free:
        if not free:
            raise StageError(f"`make serve` runs already in {root}: use that one, or stop it first.")
        for note in (root / NOTES).glob("*.txt"):
            if end_noted(note):
                print(f"Ended the {note.stem} of a `make serve` that was killed.")
        yield


def _check_ports(root: Path, port: int, prefect_port: int) -> None:
    if os.environ.get("PREFECT_API_URL"):
        raise StageError("PREFECT_API_URL names a Prefect server already: unset it to have one here.")
    for number in (prefect_port, *([] if is_server(tracking_uri(root)) else [port])):
        check_port(number, "`make serve PORT=...` for MLflow, `python -m flows.serve --prefect-port ...` for Prefect")


@contextmanager
def _services(root: Path, mlflow_port: int, prefect_port: int) -> Iterator[Mapping[str, subprocess.Popen]]:
    """Starts all of them and says where they are; after the block nothing that they have started runs any more.

    Raises:
        StageError: one does not start.
    """
    running: dict[str, subprocess.Popen] = {}
    try:
        for name, process in _started(root, mlflow_port, prefect_port):
            leave_note(root / NOTES / f"{name}.txt", process.pid)
            running[name] = process
        yield running
    finally:
        for number in SIGNALS:  # the end that follows is not interrupted by another one
            signal.signal(number, signal.SIG_IGN)
        if "worker" in running:
            _end_flows(running["worker"].pid)
        # Each is the leader of a group; one whose start was interrupted is not noted yet.
        groups = [process.pid for process in psutil.Process().children()]
        with ThreadPoolExecutor(len(groups) + 1) as pool:
            list(pool.map(end_group, groups))
        for name in running:
            (root / NOTES / f"{name}.txt").unlink()


def _watch(root: Path, running: Mapping[str, subprocess.Popen]) -> None:
    """Never returns.

    Raises:
        StageError: a service has ended by itself.
    """
    while True:
        for name, process in running.items():
            if process.poll() is not None:
                raise StageError(f"The {name} has ended: its own words are in {_log(root, name)}.")
        time.sleep(LOOK)


def _started(root: Path, mlflow_port: int, prefect_port: int) -> Iterator[tuple[str, subprocess.Popen]]:
    """Each service by name, as soon as it has been started."""
    uri, url = tracking_uri(root), f"http://127.0.0.1:{prefect_port}"
    pages = shown(uri) if is_server(uri) else f"http://127.0.0.1:{mlflow_port}"
    _log(root, "").parent.mkdir(exist_ok=True)
    # Of this process, whose Prefect client reads them, and so of those that it starts.
    os.environ.update(QUIET, PREFECT_API_URL=f"{url}/api", PREFECT_HOME=str(root / ".prefect"))
    env = environment(root, **{PAGES: pages}, TACA_ROOT=str(root), MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    if not is_server(uri):
        mlflow = start_service(mlflow_server(root, uri, mlflow_port), root, env, _log(root, "mlflow"))
        yield "mlflow", mlflow
    yield "server", start_server(root, prefect_port, _log(root, "server"))
    deploy(root, env)
    if not is_server(uri):
        relink(pages)
        # The worker only then: a stage that finds no database makes one, which MLflow does too.
        wait_for(mlflow, f"{pages}/health", "MLflow", _log(root, "mlflow"))
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", socket.gethostname()]
    yield "worker", start_service(worker, root, env, _log(root, "worker"))
    print(f"Prefect  {url}")
    print(f"MLflow   {pages}")
    print(f"Worker   {url}/work-pools/work-pool/{POOL}")
    print("Schedules are inactive until you switch them on in Prefect. Ctrl-C ends all three.", flush=True)


def _log(root: Path, name: str) -> Path:
    return root / ".prefect" / f"{name}.log"


def _end_flows(worker: int) -> None:
    """Asks flows to stop while their worker lives: with it they would be killed at once, and their stages left."""
    with suppress(psutil.NoSuchProcess):
        flows = psutil.Process(worker).children()
        for flow in flows:
            flow.terminate()
        psutil.wait_procs(flows, timeout=PARTING)


if __name__ == "__main__":
    main()
