"""The services of one machine: MLflow, a Prefect server, and a worker that runs its flows here."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil

from flows.running.process import end_group, leave_note
from flows.running.repro import environment
from flows.services.deploy import POOL, deploy
from flows.services.server import QUIET, start_server, start_service, wait_for
from runtime.errors import StageError
from runtime.tracking import tracking_uri
from runtime.tracking.place import is_server, shown

NOTES = Path(".work") / "serve"  # a file for each service: its process group
PARTING = 22.0  # seconds that flows have to stop their stages: two more than they give these
LOOK = 0.5  # seconds between looks


class Services:
    """What `start` starts, until the block is left: then all of it ends, with everything that it has started."""

    def __init__(self, root: Path):
        self._root = root
        self._logs = root / ".prefect"
        self._running: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, *_: object) -> None:
        if "worker" in self._running:
            _end_flows(self._running["worker"].pid)
        # Each is the leader of a group; one whose start was interrupted is not noted yet.
        groups = [process.pid for process in psutil.Process().children()]
        with ThreadPoolExecutor(len(groups) + 1) as pool:
            list(pool.map(end_group, groups))
        for name in self._running:
            (self._root / NOTES / f"{name}.txt").unlink()

    def start(self, mlflow_port: int, prefect_port: int) -> None:
        """Starts all of them, and says where they are.

        Raises:
            StageError: one does not start.
        """
        uri = tracking_uri(self._root)
        url = f"http://127.0.0.1:{prefect_port}"
        self._logs.mkdir(exist_ok=True)
        # Of this process, whose Prefect client reads them, and so of those that it starts.
        os.environ.update(QUIET, PREFECT_API_URL=f"{url}/api", PREFECT_HOME=str(self._logs))
        env = environment(self._root, TACA_ROOT=str(self._root), MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
        if not is_server(uri):
            self._start("mlflow", _mlflow(self._root, uri, mlflow_port), env)
        self._note("server", start_server(self._root, prefect_port, self._logs / "server.log"))
        deploy(self._root, env)
        if not is_server(uri):
            # The worker only then: a stage that finds no database makes one, which MLflow does too.
            health = f"http://127.0.0.1:{mlflow_port}/health"
            wait_for(self._running["mlflow"], lambda: _answers(health), "MLflow", self._logs / "mlflow.log")
        self._start("worker", _worker(), env)
        print(f"Prefect  {url}")
        print(f"MLflow   {shown(uri) if is_server(uri) else f'http://127.0.0.1:{mlflow_port}'}")
        print(f"Worker   {url}/work-pools/work-pool/{POOL}")
        print("Schedules are inactive until you switch them on in Prefect. Ctrl-C ends all three.", flush=True)

    def watch(self) -> None:
        """Never returns.

        Raises:
            StageError: a service has ended by itself.
        """
        while True:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise StageError(f"The {name} has ended: its own words are in {self._logs / f'{name}.log'}.")
            time.sleep(LOOK)

    def _start(self, name: str, command: list[str], env: Mapping[str, str]) -> None:
        self._note(name, start_service(command, self._root, env, self._logs / f"{name}.log"))

    def _note(self, name: str, process: subprocess.Popen) -> None:
        leave_note(self._root / NOTES / f"{name}.txt", process.pid)
        self._running[name] = process


def _answers(page: str) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(page, timeout=5).close()
        return True
    return False


def _end_flows(worker: int) -> None:
    """Asks flows to stop while their worker lives: with it they would be killed at once, and their stages left."""
    with suppress(psutil.NoSuchProcess):
        flows = psutil.Process(worker).children()
        for flow in flows:
            flow.terminate()
        psutil.wait_procs(flows, timeout=PARTING)


def _mlflow(root: Path, uri: str, port: int) -> list[str]:
    """The server of `make ui`."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [*command, "--backend-store-uri", uri, "--default-artifact-root", (root / "mlartifacts").as_uri()]


def _worker() -> list[str]:
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", socket.gethostname()]
