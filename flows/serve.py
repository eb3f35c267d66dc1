"""Keeps one machine's services running until Ctrl-C: Prefect with its schedules, a worker, and MLflow."""

import argparse
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from flows.errors import told
from flows.running.process import end_noted
from flows.running.record import PAGES
from flows.running.repository import environment
from flows.services.deploy import POOL, deploy, relink
from flows.services.server import HOME, HOST, QUIET, Service, free_port, mlflow_server, service, start_server
from runtime.errors import StageError
from runtime.execution.lock import if_free
from runtime.tracking import tracking_uri
from runtime.tracking.place import is_server, shown

NOTES = Path(".work") / "serve"  # a file for each service: its process group
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PARTING = 22.0  # seconds that flows have to stop their stages: two more than they give these
LOOK = 0.5  # seconds between looks
ANOTHER = "`make serve PORT=...` for MLflow, `python -m flows.serve --prefect-port ...` for Prefect"


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
        signal.signal(number, _stop)
    try:
        with told(), _only_one(root), ExitStack() as services:
            _watch(_started(root, options.port, options.prefect_port, services))
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


def _stop(signum: int, frame: object) -> None:
    """Ends this process as Ctrl-C does; what follows is not interrupted by another signal."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _started(root: Path, port: int, prefect_port: int, services: ExitStack) -> Mapping[str, Service]:
    """Starts all services by name and says where they are; `services` ends them, the last one first.

    Raises:
        StageError: one does not start.
    """
    if os.environ.get("PREFECT_API_URL"):
        raise StageError("PREFECT_API_URL names a Prefect server already: unset it to have one here.")
    uri, url = tracking_uri(root), f"http://{HOST}:{free_port(prefect_port, ANOTHER)}"
    local = not is_server(uri)
    pages = f"http://{HOST}:{free_port(port, ANOTHER)}" if local else shown(uri)
    # Of this process, whose Prefect client reads them, and so of those that it starts.
    os.environ.update(QUIET, PREFECT_API_URL=f"{url}/api", PREFECT_HOME=str(root / HOME))
    env = environment(root, **{PAGES: pages}, TACA_ROOT=str(root))
    running = {}
    if local:
        running["mlflow"] = services.enter_context(mlflow_server(root, uri, port, root / NOTES / "mlflow.txt"))
    running["server"] = services.enter_context(start_server(root, prefect_port, root / NOTES / "server.txt"))
    deploy(root, env)
    if local:
        relink(pages)
        # The worker only then: a stage that finds no database makes one, which MLflow does too.
        running["mlflow"].wait_for(f"{pages}/health", "MLflow")
    worker = ["prefect", "worker", "start", "--pool", POOL, "--name", socket.gethostname()]
    running["worker"] = services.enter_context(service(worker, root, env, root / NOTES / "worker.txt"))
    services.callback(_part, running)
    print(
        f"Prefect  {url}\nMLflow   {pages}\nWorker   {url}/work-pools/work-pool/{POOL}\n"
        "Schedules are inactive until you switch them on in Prefect. Ctrl-C ends all three.",
        flush=True,
    )
    return running


def _watch(running: Mapping[str, Service]) -> None:
    """Never returns.

    Raises:
        StageError: a service has ended by itself.
    """
    while True:
        for name, one in running.items():
            if one.process.poll() is not None:
                raise StageError(f"The {name} has ended: its own words are in {one.log}.")
        time.sleep(LOOK)


def _part(running: Mapping[str, Service]) -> None:
    """Asks flows to stop while their worker lives: with it they would be killed at once, and their stages left."""
    with suppress(psutil.NoSuchProcess):
        flows = psutil.Process(running["worker"].process.pid).children()
        for flow in flows:
            flow.terminate()
        psutil.wait_procs(flows, timeout=PARTING)
    for one in running.values():  # all at once: each takes a second or two, and is then waited for by itself
        one.process.terminate()


if __name__ == "__main__":
    main()
