"""Shows the runs in MLflow's own pages until Ctrl-C, or says where they are."""

import argparse
import os
from pathlib import Path

from flows.errors import told
from flows.services.server import check_port, mlflow_server
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import is_server, shown


def main() -> None:
    """Becomes MLflow's server; status 1 and a sentence where that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m flows.ui", description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="of the pages (default: 5000)")
    port, root = parser.parse_args().port, Path.cwd()
    with told():
        uri = tracking_uri(root)
        check_answers(uri)
        if is_server(uri):
            print(f"The runs are at {shown(uri)}")
            return
        check_port(port, "`make ui PORT=...`")
        print(f"The runs are at http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
        command = mlflow_server(root, uri, port)
        os.execve(command[0], command, os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})


if __name__ == "__main__":
    main()
