"""`python -m runtime.tracking.find HASH`: the MLflow run that made the output with this DVC hash.

An output that DVC took from its cache was made by an earlier run, and is found all the same: hashes are what counts.
"""

import os
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from runtime.errors import StageError
from runtime.tracking.place import check_answers, is_server, shown, sqlite_file, tracking_uri

SHORTEST = 6  # hex digits


def main() -> None:
    """Prints what is known of the runs that made it, the newest in full."""
    try:
        prefix = _prefix(sys.argv[1:])
        uri = tracking_uri(Path.cwd())
        check_answers(uri)
        runs = list(_runs(uri, prefix))
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


def _prefix(arguments: list[str]) -> str:
    value = arguments[0].strip().lower() if len(arguments) == 1 else ""
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},32}}(\.dir)?", value):
        raise StageError(f"Say `make run HASH=...` with the first {SHORTEST} or more digits of an md5 in dvc.lock.")
    return value


def _runs(uri: str, prefix: str) -> Iterator[Any]:
    """Runs with an output whose hash starts so, finished ones first, then newest first."""
    database = sqlite_file(uri)
    if database and not database.exists():
        return
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    # A run that only repeated another (see flows/rebuild.py) did not make what is there.
    made = f"tags.`dvc.outs` LIKE '%{prefix}%' and tags.`rebuild.of` IS NULL"
    found = client.search_runs(experiments, made, order_by=["start_time DESC"])
    # LIKE also finds the digits in the middle of a hash.
    matching = [run for run in found if any(_made(run, prefix))]
    yield from sorted(matching, key=lambda run: run.info.status != "FINISHED")


def _made(run: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in run.data.tags.items():
        if key.startswith("dvc.out.") and value.startswith(prefix):
            yield key.removeprefix("dvc.out."), value


def _described(run: Any, prefix: str, uri: str) -> str:
    tags = run.data.tags
    made = ", ".join(f"{path} ({digest})" for path, digest in _made(run, prefix))
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
