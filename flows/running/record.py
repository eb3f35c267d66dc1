"""The MLflow run of a flow, above those of its stages."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import is_server, shown

# What stage runs log of their cost (see `runtime.execution`); the flow's run has the sums.
COSTS = ("cost/device_seconds", "cost/gpu_hours", "cost/price")


class Record:
    """One run that is open until `end`, and what it knows of others.

    MLflow is imported and the run opened in a thread of its own; what needs the run waits for it.
    """

    def __init__(self, root: Path, experiment: str, name: str, tags: Mapping[str, str], parent: str | None = None):
        self.uri = tracking_uri(root)
        check_answers(self.uri)
        begin = {
            "uri": self.uri,
            "root": str(root),
            "experiment": experiment,
            "name": name,
            "parent": parent,
            "parent_file": None,
            "pid": os.getpid(),
            "pid_started": str(psutil.Process().create_time()),
            "start_ms": int(time.time() * 1000),
            "params": {},
            "tags": tags,
            "inputs": [],
            "pipeline_outs": [],
        }
        with_one_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="record")
        self._opened: Future = with_one_thread.submit(_open, begin)
        with_one_thread.shutdown(wait=False)

    @property
    def _log(self):
        return self._opened.result()

    @property
    def id(self) -> str:
        return self._log.run_id

    def when_open(self, then: Callable[["Record"], None], failed: Callable[[], None]) -> None:
        """Calls `then` with this record once it is open, or `failed` when it cannot be opened."""
        self._opened.add_done_callback(lambda opened: failed() if opened.exception() else then(self))

    def tag(self, values: Mapping[str, str]) -> None:
        """Adds tags."""
        self._log.tag(values)

    def params(self, values: Mapping[str, object]) -> None:
        """Notes parameters."""
        self._log.log_params(values)

    def artifacts(self, folder: Path, place: str) -> None:
        """Stores a folder's files under `place`."""
        self._log.artifacts(folder, place)

    def children(self) -> dict[str, object]:
        """The newest run of each stage that ran under this one, by stage."""
        found = {}
        for run in sorted(self._log.children(), key=lambda run: run.info.start_time):
            found[run.data.tags.get("stage", run.info.run_name)] = run
        return found

    def maker(self, md5: str, stage: str) -> str | None:
        """The id of the newest finished run that made the output with this DVC hash."""
        return self._log.maker(md5, stage)

    def sum_costs(self) -> dict[str, float]:
        """Adds the costs of all runs below to this one, and returns them."""
        runs = self._log.children()
        total = {cost: sum(run.data.metrics.get(cost, 0.0) for run in runs) for cost in COSTS}
        self.metrics(total)
        return total

    def metrics(self, values: Mapping[str, float]) -> None:
        """Adds one point to each metric's curve."""
        self._log.add_metrics(values, step=0, time_ms=int(time.time() * 1000))

    def page(self, run_id: str) -> str:
        """Where a run is seen."""
        path = f"#/experiments/{self._log.experiment_id}/runs/{run_id}"
        return f"{shown(self.uri).rstrip('/')}/{path}" if is_server(self.uri) else f"http://127.0.0.1:5000/{path}"

    def end(self, status: str, message: str = "") -> None:
        """Closes the run as FINISHED, FAILED or KILLED."""
        self._log.end(status, message)


def _open(begin: Mapping):
    from runtime.tracking.store import RunLog

    log = RunLog(begin)
    log.kill_orphans()
    return log


@contextmanager
def recorded(
    root: Path, experiment: str, name: str, tags: Mapping[str, str], parent: str | None = None
) -> Iterator[Record]:
    """A run that ends with the block: KILLED when that is interrupted, FAILED when it raises and said nothing else."""
    record = Record(root, experiment, name, tags, parent)
    try:
        yield record
    except Exception as error:
        record.end("FAILED", str(error))
        raise
    except BaseException as error:
        record.end("KILLED", f"the flow was stopped ({type(error).__name__})")
        raise
