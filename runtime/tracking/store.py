"""One run in MLflow, through `MlflowClient` alone: fluent calls would end a parent's run and read its environment."""

import platform
import posixpath
import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.tracking import SEARCH_MAX_RESULTS_THRESHOLD
from mlflow.tracking import MlflowClient

from runtime.comparing import pages
from runtime.comparing.datasets import data_set
from runtime.comparing.models import log_model, register
from runtime.tracking.place import artifact_location, deleted, sqlite_file
from runtime.tracking.system import has_ended, packages, pid_space, user
from runtime.tracking.tree import keep_tree

ARTIFACT_BYTES = 50 * 2**20  # outputs up to this size, of up to this many files, are stored in the run itself
ARTIFACT_FILES = 100
VALUE_CHARACTERS = 5000  # MLflow takes 6000 for a parameter, 8000 for a tag
# What runs of stages log of their cost (see `runtime.execution.cost`); those above them have the sums.
COSTS = ("cost/device_seconds", "cost/gpu_hours", "cost/price")


class RunLog:
    """A run that is open from construction to `end`.

    `begin` is what the stage says of itself: uri, root, experiment, name, parent (a run id or null), pid, pid_started,
    start_ms, params, tags, inputs, and the outs of the whole pipeline.
    """

    def __init__(self, begin: Mapping):
        self.root, self.name, database = Path(begin["root"]), begin["name"], sqlite_file(begin["uri"])
        # One process at a time opens an SQLite store: creating its tables twice at once breaks it.
        with FileLock(f"{database}.lock") if database else nullcontext():
            if database and not database.exists():
                _make(begin["uri"], database)
            self._client = MlflowClient(begin["uri"])
            self.experiment_id = self._experiment_id(begin["experiment"], begin["uri"])
        self._metrics: list[Metric] = []
        self.run_id = self._open(begin)

    def kill_orphans(self) -> None:
        """Sets other runs to KILLED whose process is gone."""
        for run in self._client.search_runs([self.experiment_id], "attributes.status = 'RUNNING'"):
            # This one's may end before it could say how.
            if run.info.run_id != self.run_id and has_ended(run.data.tags):
                self._client.set_terminated(run.info.run_id, "KILLED")

    def beat(self) -> None:
        """Leaves a sign of life, for those who cannot see the process."""
        self.tag({"heartbeat": int(time.time())})

    def add_metrics(self, values: Mapping[str, float], step: int, time_ms: int) -> None:
        """Keeps one point of each curve for the next flush; what MLflow does not take in a name becomes `_`."""
        self._metrics += [Metric(tag_key(key), value, time_ms, step) for key, value in values.items()]

    def flush(self) -> None:
        """Writes what is buffered; what cannot be written stays."""
        self._client.log_batch(self.run_id, metrics=self._metrics)
        self._metrics = []

    def take_artifact(self, path: str, folder: str) -> None:
        """Stores the file and deletes it."""
        self._client.log_artifact(self.run_id, path, folder)
        Path(path).unlink()

    def log_inputs(self, inputs: Sequence[Mapping]) -> None:
        """Stores data that the run reads as MLflow data sets whose digest is DVC's hash."""
        if inputs:
            self._client.log_inputs(self.run_id, [data_set(entry, self.root) for entry in inputs])

    def log_outs(self, outs: Sequence[Mapping], tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Stores small outputs, manifests of large ones, and every output's hash."""
        for out in outs:
            self._store(out)
        hashes = {f"dvc.out.{out['path']}": out["md5"] for out in outs}
        # One tag with all of them, since a search has to name its tag.
        self.tag({**tags, **hashes, "dvc.outs": " ".join(hashes.values())})
        self.add_metrics(metrics, step=0, time_ms=int(time.time() * 1000))

    def tag(self, values: Mapping[str, object]) -> None:
        """Adds tags."""
        self._client.log_batch(self.run_id, tags=[RunTag(tag_key(key), _short(value)) for key, value in values.items()])

    def artifacts(self, folder: Path, place: str) -> None:
        """Stores the files of a folder under `place`."""
        self._client.log_artifacts(self.run_id, str(folder), place)

    def add_result(self, name: str, params: Mapping, metrics: Mapping[str, float]) -> None:
        """Opens a run below this one and ends it: the results of what is called so, with its settings."""
        now, tags = int(time.time() * 1000), {pages.RESULT: self.name, "mlflow.parentRunId": self.run_id}
        child = self._client.create_run(self.experiment_id, now, tags, name).info.run_id
        points = [Metric(tag_key(key), value, now, 0) for key, value in metrics.items()]
        self._client.log_batch(child, points, [Param(key, _short(value)) for key, value in params.items()])
        self._client.set_terminated(child)

    def present(self, text: str, view: Mapping) -> None:
        """Describes the run, as `pages.describe` takes it, and has the experiment open with a view of runs."""
        pages.describe(self._client, self.run_id, text)
        pages.share_view(self._client, self.experiment_id, view)

    def adopt_description(self) -> None:
        """Takes the newest description of the runs below for this one and for the experiment."""
        pages.adopt_description(self._client, self.run_id, self.children())

    def register(self, hashes: set[str], variant: str = "") -> None:
        """Registers the models among outputs with these DVC hashes, as `models.register` does."""
        register(self._client, self.experiment_id, hashes, variant)

    def sum_costs(self) -> None:
        """Adds the costs of all runs below to this one."""
        runs = self.children()
        total = {cost: sum(run.data.metrics.get(cost, 0.0) for run in runs) for cost in COSTS}
        self.add_metrics(total, step=0, time_ms=int(time.time() * 1000))

    def children(self) -> list[Run]:
        """The runs that name this one as their parent."""
        named = f"tags.`mlflow.parentRunId` = '{self.run_id}'"
        return self._client.search_runs([self.experiment_id], named, max_results=SEARCH_MAX_RESULTS_THRESHOLD)

    def maker(self, md5: str, stage: str) -> str | None:
        """The id of the newest finished run with an output of this DVC hash; one that only repeated another is none.

        A run of `stage` comes before others: small outputs of different stages may be the same.
        """
        made = f"tags.`dvc.outs` LIKE '%{md5}%' and tags.`rebuild.of` IS NULL and attributes.status = 'FINISHED'"
        for asked in (f"{made} and tags.stage = '{stage}'", made):
            found = self._client.search_runs([self.experiment_id], asked, max_results=1, order_by=["start_time DESC"])
            if found:
                return found[0].info.run_id
        return None

    def end(self, status: str, message: str = "") -> None:
        """Writes what is buffered and closes the run."""
        self.flush()
        if message:
            self.tag({"error": message})
        self._client.set_terminated(self.run_id, status)

    def _open(self, begin: Mapping) -> str:
        """A new run with what it starts from; its id."""
        with TemporaryDirectory() as kept:
            tree = keep_tree(self.root, begin["pipeline_outs"], Path(kept))
            self.run_id = self._create(begin, tree)
            self._client.log_artifacts(self.run_id, kept)
        self.log_params(begin["params"])
        self.log_inputs(begin["inputs"])
        self._client.log_text(self.run_id, packages(), "environment/packages.txt")
        return self.run_id

    def _create(self, begin: Mapping, tree: Mapping[str, str]) -> str:
        machine = {
            "host": socket.gethostname(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "mlflow.user": user(),
            "pid.space": pid_space(),
            "heartbeat": int(time.time()),
        }
        parent = {"mlflow.parentRunId": begin["parent"]} if begin["parent"] else {}
        process = {"pid": begin["pid"], "pid.started": begin["pid_started"]}
        tags = {**tree, **machine, **begin["tags"], **process, **parent}
        tags = {tag_key(key): _short(value) for key, value in tags.items()}
        return self._client.create_run(self.experiment_id, begin["start_ms"], tags, begin["name"]).info.run_id

    def _experiment_id(self, name: str, uri: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if not found:
            location = artifact_location(uri, self.root)
            try:
                return self._client.create_experiment(name, artifact_location=location, tags=pages.KIND)
            except MlflowException:
                found = self._client.get_experiment_by_name(name)
                if not found:  # else another stage was faster
                    raise
        if found.lifecycle_stage == "deleted":
            raise deleted(name, found.experiment_id, uri)
        pages.mark_kind(self._client, found)
        return found.experiment_id

    def _store(self, out: Mapping) -> None:
        content, place, card = out["content"], f"outs/{out['path']}", out.get("card")
        if card is not None:
            log_model(self._client, self.experiment_id, self.run_id, out)
        if card is not None or out["size"] > ARTIFACT_BYTES or len(out["files"]) > ARTIFACT_FILES:
            manifest = {key: out[key] for key in ("path", "md5", "size", "files")}
            self._client.log_dict(self.run_id, manifest, f"{place}.manifest.json")
        elif Path(content).is_dir():
            self._client.log_artifacts(self.run_id, content, place)
        else:
            self._client.log_artifact(self.run_id, content, posixpath.dirname(place))

    def log_params(self, params: Mapping[str, object]) -> None:
        """Notes parameters."""
        self._client.log_batch(self.run_id, params=[Param(key, _short(value)) for key, value in params.items()])


def _make(uri: str, database: Path) -> None:
    """Makes an empty store, whole or not at all: MLflow refuses one whose tables were being made when it was killed."""
    part = database.with_name(f"{database.name}.part")
    part.unlink(missing_ok=True)
    MlflowClient(uri.replace(database.name, part.name)).search_experiments()
    part.rename(database)


def tag_key(key: str) -> str:
    """A key that MLflow takes, of 250 characters at most."""
    return re.sub(r"[^/\w.\- :]", "_", key)[:250]


def _short(value: object) -> str:
    return str(value)[:VALUE_CHARACTERS]
