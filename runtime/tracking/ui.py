"""`python -m runtime.tracking.ui PORT`: MLflow's pages on the runs of this repository, until Ctrl-C.

The address is that of the view that compares results, once there are some (see `runtime.tracking.pages`).
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx

from runtime.errors import StageError
from runtime.tracking.place import TIMEOUT, artifact_location, check_answers, is_server, password, shown, tracking_uri

# As `runtime.tracking.pages` has them, whose import takes seconds.
VIEW_TAG = "mlflow.sharedViewState.compare"
# With its charts, and not as an experiment of chats, for which the pages take any until they are told.
VIEW = "viewStateShareKey=compare&compareRunsMode=CHART&workflowType=machine_learning"
START = 240.0  # seconds for a start: a few on an idle machine
LOOK = 0.2  # seconds between looks whether it answers


def main() -> None:
    """Prints where the runs are; starts a server for them unless they are on one."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    uri = tracking_uri(Path.cwd())
    try:
        if is_server(uri):
            check_answers(uri)
            print(f"The runs are at {address(uri)}")
        else:
            _serve(uri, int(sys.argv[1]))
    except (StageError, ConnectionError) as error:
        sys.exit(str(error))


def address(server: str) -> str:
    """Of the newest view of results on an MLflow server; of its start page where there is none."""
    found = httpx.get(f"{server}/api/2.0/mlflow/experiments/search?max_results=1000", timeout=TIMEOUT, **password())
    viewed = [
        one for one in found.json().get("experiments", []) if VIEW_TAG in {tag["key"] for tag in one.get("tags", [])}
    ]
    if not viewed:
        return shown(server)
    newest = max(viewed, key=lambda one: int(one["last_update_time"]))
    return f"{shown(server)}/#/experiments/{newest['experiment_id']}/runs?{VIEW}"


def _serve(uri: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise StageError(f"Port {port} is taken: stop what has it, or choose another: make ui PORT=...") from None
    store = ["--backend-store-uri", uri, "--default-artifact-root", artifact_location(uri, Path.cwd())]
    place = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen([sys.executable, "-m", "mlflow", "server", *place, *store], env=env)
    with suppress(KeyboardInterrupt):
        deadline, server = time.monotonic() + START, f"http://127.0.0.1:{port}"
        while not _answers(server):
            if process.poll() is not None or time.monotonic() > deadline:
                raise StageError("MLflow's server does not start: its own words are above.")
            time.sleep(LOOK)
        print(f"The runs are at {address(server)} (Ctrl-C ends it)", flush=True)
        process.wait()
    process.terminate()
    process.wait()


def _answers(server: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{server}/health", timeout=TIMEOUT).is_success
    return False


if __name__ == "__main__":
    main()
