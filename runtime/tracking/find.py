"""`python -m runtime.tracking.find HASH`: the MLflow run that made the output with this DVC hash.

An output that DVC took from its cache was made by an earlier run, and is found all the same: hashes are what counts.
"""

import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from runtime.errors import StageError
from runtime.tracking.place import check_answers, is_server, shown, sqlite_file, tracking_uri


def main() -> None:
    """Prints what is known of the runs that made it, the newest in full."""
    prefix, uri = " ".join(sys.argv[1:]).strip().lower(), tracking_uri(Path.cwd())
    try:
        if not re.fullmatch(r"[0-9a-f]{6,32}(\.dir)?", prefix):
            raise StageError("Say `make run HASH=...` with the first 6 or more digits of an md5 in dvc.lock.")
        check_answers(uri)
        runs = find_runs(uri, prefix)
        if not runs:
            raise StageError(
                f"No run in {shown(uri)} made an output with hash {prefix}: take the hash from dvc.lock or the "
                "report, or set MLFLOW_TRACKING_URI to the store of the machine that made it."
            )
    except (StageError, ConnectionError) as error:
        sys.exit(str(error))
    print(_described(runs[0], prefix, uri))
    for run in runs[1:]:
        print(f"also   {run.info.run_id}  {_when(run)}  {run.info.status}")
    # MLflow's exit handlers take a second.
    sys.stdout.flush()
    os._exit(0)


def find_runs(uri: str, prefix: str) -> Sequence[Any]:
    """Runs with an output whose hash starts so, finished ones first, then newest first."""
    database = sqlite_file(uri)
    if database and not database.exists():
        return []
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    # A run that only repeated another (see flows/rebuild.py) did not make what is there.
    made = f"tags.`dvc.outs` LIKE '%{prefix}%' and tags.`rebuild.of` IS NULL"
    found = client.search_runs(experiments, made, order_by=["start_time DESC"])
    # LIKE also finds the digits in the middle of a hash.
    return sorted(filter(lambda run: _made(run, prefix), found), key=lambda run: run.info.status != "FINISHED")


def _made(run: Any, prefix: str) -> dict[str, str]:
    """Its outputs with such a hash, by path."""
    outs = {key.removeprefix("dvc.out."): md5 for key, md5 in run.data.tags.items() if key.startswith("dvc.out.")}
    return {path: md5 for path, md5 in outs.items() if md5.startswith(prefix)}


def _described(run: Any, prefix: str, uri: str) -> str:
    tags = run.data.tags
    made = ", ".join(f"{path} ({md5})" for path, md5 in _made(run, prefix).items())
    dirty = " and uncommitted changes (git.diff in the run)" if tags["git.dirty"] == "true" else ""
    server = shown(uri).rstrip("/") if is_server(uri) else "`make ui`, then http://127.0.0.1:5000"
    return f"""\
run    {run.info.run_id}
stage  {tags["stage"]}, {run.info.status}, {_when(run)}, on {tags["host"]}
made   {made}
code   commit {tags["git.commit"]}{dirty}
open   {server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"""


def _when(run: Any) -> str:
    started = datetime.fromtimestamp(run.info.start_time / 1000)
    seconds = f", {(run.info.end_time - run.info.start_time) / 1000:.0f} s" if run.info.end_time else ""
    return f"{started:%Y-%m-%d %H:%M:%S}{seconds}"


if __name__ == "__main__":
    main()
