"""One run in MLflow, through `MlflowClient` alone: fluent calls would end a parent's run and read its environment."""

import fcntl
import json
import posixpath
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from runtime.tracking.facts import machine_facts, packages
from runtime.tracking.place import artifact_location, sqlite_file
from runtime.tracking.system import find_process
from runtime.tracking.tree import keep_tree

ARTIFACT_BYTES = 50 * 2**20  # outputs up to this size, of up to this many files, are stored in the run itself
ARTIFACT_FILES = 100
VALUE_CHARACTERS = 5000  # MLflow takes 6000 for a parameter, 8000 for a tag
PARENT_SECONDS = 60.0  # for a flow to open its run, which it begins before its stages
BATCH = 100  # parameters or tags a call; metrics ten times that


class RunLog:
    """A run that is open from construction to `end`.

    `begin` is what the stage says of itself: uri, root, experiment, name, parent (a run id or null) or parent_file (a
    file that will soon hold one, or null), pid, pid_started, start_ms, params, tags, inputs, and the outs of the whole
    pipeline.
    """

    def __init__(self, begin: Mapping):
        root = Path(begin["root"])
        with _creation_lock(begin["uri"]):
            self._client = MlflowClient(begin["uri"])
            self.experiment_id = self._experiment_id(begin["experiment"], artifact_location(begin["uri"], root))
        with TemporaryDirectory() as kept:
            tree = keep_tree(root, begin["pipeline_outs"], Path(kept))
            self.run_id = self._create(begin, tree)
            self._client.log_artifacts(self.run_id, kept)
        self._metrics: list[Metric] = []
        self.log_params(begin["params"])
        self.log_inputs(begin["inputs"])
        self._client.log_text(self.run_id, packages(), "environment/packages.txt")

    def kill_orphans(self) -> None:
        """Sets runs to KILLED that this host began and whose process is gone."""
        mine = f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'"
        for run in self._client.search_runs([self.experiment_id], mine):
            if not find_process(int(run.data.tags["pid"]), float(run.data.tags["pid.started"])):
                self._client.set_terminated(run.info.run_id, "KILLED")

    def add_metrics(self, values: Mapping[str, float], step: int, time_ms: int) -> None:
        """Keeps one point of each curve for the next flush; what MLflow does not take in a name becomes `_`."""
        self._metrics += [Metric(tag_key(key), value, time_ms, step) for key, value in values.items()]

    def try_flush(self) -> None:
        """Writes what is buffered; what cannot be written now waits for the next time."""
        with suppress(Exception):
            self._flush()

    def take_artifact(self, path: str, folder: str) -> None:
        """Stores the file and deletes it."""
        self._client.log_artifact(self.run_id, path, folder)
        Path(path).unlink()

    def log_inputs(self, inputs: Sequence[Mapping]) -> None:
        """Stores data that the run reads as MLflow data sets whose digest is DVC's hash."""
        found = [
            DatasetInput(
                Dataset(name=entry["name"], digest=entry["md5"], source_type="local", source=_source(entry["path"])),
                [InputTag("dvc.path", entry["path"]), InputTag("dvc.md5", entry["md5"])],
            )
            for entry in inputs
        ]
        if found:
            self._client.log_inputs(self.run_id, found)

    def log_outs(self, outs: Sequence[Mapping], tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Stores small outputs, manifests of large ones, and every output's hash."""
        for out in outs:
            self._store(out)
        hashes = {f"dvc.out.{out['path']}": out["md5"] for out in outs}
        # One tag with all of them, since a search has to name its tag.
        self._log_tags({**tags, **hashes, "dvc.outs": " ".join(hashes.values())})
        values = [Metric(key, value, int(time.time() * 1000), 0) for key, value in metrics.items()]
        self._client.log_batch(self.run_id, metrics=values)

    def tag(self, values: Mapping[str, object]) -> None:
        """Adds tags."""
        self._log_tags(values)

    def artifacts(self, folder: Path, place: str) -> None:
        """Stores the files of a folder under `place`."""
        self._client.log_artifacts(self.run_id, str(folder), place)

    def text(self, text: str, path: str) -> None:
        """Stores a text as artifact `path`."""
        self._client.log_text(self.run_id, text, path)

    def children(self) -> list[Run]:
        """The runs that name this one as their parent."""
        named, found, page = f"tags.`mlflow.parentRunId` = '{self.run_id}'", [], None
        while page is None or page.token:
            page = self._client.search_runs([self.experiment_id], named, page_token=page.token if page else None)
            found += page
        return found

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
        self._flush()
        if message:
            self._log_tags({"error": message})
        self._client.set_terminated(self.run_id, status)

    def _create(self, begin: Mapping, tree: Mapping[str, str]) -> str:
        tags = {**tree, **machine_facts(), **begin["tags"], "pid": begin["pid"], "pid.started": begin["pid_started"]}
        parent = _awaited(Path(begin["parent_file"])) if begin["parent_file"] else begin["parent"]
        if parent:
            tags["mlflow.parentRunId"] = parent
        tags = {tag_key(key): _short(value) for key, value in tags.items()}
        return self._client.create_run(self.experiment_id, begin["start_ms"], tags, begin["name"]).info.run_id

    def _experiment_id(self, name: str, location: str | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found:
            return found.experiment_id
        try:
            return self._client.create_experiment(name, artifact_location=location)
        except MlflowException:  # another stage was faster
            return self._client.get_experiment_by_name(name).experiment_id

    def _store(self, out: Mapping) -> None:
        content, place = out["content"], f"outs/{out['path']}"
        if out["size"] > ARTIFACT_BYTES or len(out["files"]) > ARTIFACT_FILES:
            manifest = {key: out[key] for key in ("path", "md5", "size", "files")}
            self._client.log_dict(self.run_id, manifest, f"{place}.manifest.json")
        elif Path(content).is_dir():
            self._client.log_artifacts(self.run_id, content, place)
        else:
            self._client.log_artifact(self.run_id, content, posixpath.dirname(place))

    def _flush(self) -> None:
        while self._metrics:
            self._client.log_batch(self.run_id, metrics=self._metrics[: 10 * BATCH])
            del self._metrics[: 10 * BATCH]

    def log_params(self, params: Mapping[str, object]) -> None:
        """Notes parameters."""
        entries = [Param(key, _short(value)) for key, value in params.items()]
        for start in range(0, len(entries), BATCH):
            self._client.log_batch(self.run_id, params=entries[start : start + BATCH])

    def _log_tags(self, tags: Mapping[str, object]) -> None:
        entries = [RunTag(tag_key(key), _short(value)) for key, value in tags.items()]
        for start in range(0, len(entries), BATCH):
            self._client.log_batch(self.run_id, tags=entries[start : start + BATCH])


def _awaited(file: Path) -> str:
    """What a file holds, as soon as it is there."""
    deadline = time.monotonic() + PARENT_SECONDS
    while not file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the flow above has opened no run within {PARENT_SECONDS:.0f} s")
        time.sleep(0.05)
    return file.read_text()


@contextmanager
def _creation_lock(uri: str) -> Iterator[None]:
    """Lets one process at a time open an SQLite store: creating its tables twice at once breaks it."""
    database = sqlite_file(uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{database}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def tag_key(key: str) -> str:
    """A key that MLflow takes, of 250 characters at most."""
    return re.sub(r"[^/\w.\- :]", "_", key)[:250]


def _short(value: object) -> str:
    return str(value)[:VALUE_CHARACTERS]


def _source(path: str) -> str:
    return json.dumps({"uri": path})
