"""Shows the runs in MLflow's own pages until Ctrl-C, or says where they are: the view that compares results, if any."""

import argparse
import signal
from contextlib import suppress
from pathlib import Path

import httpx

from flows.errors import told
from flows.running.process import end_left
from flows.services.server import HOST, NOTES, free_port, mlflow_server
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import TIMEOUT, is_server, password, shown

# As `runtime.comparing.pages` has them, whose import takes seconds.
VIEW_TAG = "mlflow.sharedViewState.compare"
# With its charts, and not as an experiment of chats, for which the pages take any until they are told.
VIEW = "viewStateShareKey=compare&compareRunsMode=CHART&workflowType=machine_learning"


def main() -> None:
    """Prints the address once it answers; status 1 and a sentence where that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m flows.ui", description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="of the pages (default: 5000)")
    port, root = parser.parse_args().port, Path.cwd()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with told(), suppress(KeyboardInterrupt):
        uri = tracking_uri(root)
        check_answers(uri)
        if is_server(uri):
            print(f"The runs are at {address(uri)}")
        else:
            _serve(root, uri, port)


def address(server: str) -> str:
    """Of the newest view of results on an MLflow server; of its start page where there is none."""
    page = f"{server.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1000"
    found = httpx.get(page, timeout=TIMEOUT, **password()).json().get("experiments", [])
    viewed = [one for one in found if VIEW_TAG in {tag["key"] for tag in one.get("tags", [])}]
    if not viewed:
        return shown(server)
    newest = max(viewed, key=lambda one: int(one["last_update_time"]))
    return f"{shown(server)}/#/experiments/{newest['experiment_id']}/runs?{VIEW}"


def _serve(root: Path, uri: str, port: int) -> None:
    note = root / NOTES / f"ui-{port}.txt"
    end_left(note)  # of one that was killed
    server = f"http://{HOST}:{free_port(port, 'make ui PORT=...')}"
    with mlflow_server(root, uri, port, note) as pages:
        pages.wait_for(f"{server}/health", "MLflow")
        print(f"The runs are at {address(server)} (Ctrl-C ends it)", flush=True)
        pages.process.wait()


if __name__ == "__main__":
    main()
