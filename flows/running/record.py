"""The MLflow run of a flow, above those of its stages."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from runtime.execution.graph import read_stages
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import is_server, shown
from runtime.tracking.store import RunLog
from runtime.tracking.system import BEAT

PAGES = "TACA_PAGES"  # the address of MLflow's pages, where `make serve` has them


class Record(RunLog):
    """One run that is open until `end`, and what it knows of others."""

    def __init__(self, root: Path, experiment: str, name: str, tags: Mapping[str, str], parent: str | None = None):
        self.uri = tracking_uri(root)
        check_answers(self.uri, experiment)
        begin = {
            "uri": self.uri,
            "root": str(root),
            "experiment": experiment,
            "name": name,
            "parent": parent,
            "pid": os.getpid(),
            "pid_started": str(psutil.Process().create_time()),
            "start_ms": int(time.time() * 1000),
            "params": {},
            "tags": tags,
            "inputs": [],
            "pipeline_outs": [out for stage in read_stages(root).values() for out in stage.outs],
            "dvc": None,
        }
        super().__init__(begin)
        self.kill_orphans()
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def end(self, status: str, message: str = "") -> None:
        self._ended.set()
        super().end(status, message)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(Exception):  # the next one may get through
                self.beat()

    def stage_runs(self) -> dict[str, object]:
        """The newest run of each stage that ran under this one, by stage."""
        runs = sorted(self.children(), key=lambda run: run.info.start_time)
        return {run.data.tags.get("stage", run.info.run_name): run for run in runs}

    def metrics(self, values: Mapping[str, float]) -> None:
        """Adds one point to each metric's curve."""
        self.add_metrics(values, step=0, time_ms=int(time.time() * 1000))

    def belongs(self, name: str, commit: str) -> None:
        """Tags this run, and those below it that belong to the experiment `name` too, with its commit."""
        self.tag({"dvc.exp_rev": commit})
        for run in self.children():
            if run.data.tags.get("dvc.exp_name") == name:
                self._client.set_tag(run.info.run_id, "dvc.exp_rev", commit)

    def page(self, run_id: str) -> str:
        """Where a run is seen."""
        path = f"#/experiments/{self.experiment_id}/runs/{run_id}"
        local = os.environ.get(PAGES, "http://127.0.0.1:5000")
        return f"{shown(self.uri).rstrip('/') if is_server(self.uri) else local}/{path}"


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
