"""What one run holds in MLflow."""

import json
import os
import shutil
import socket
import subprocess
import tarfile
from importlib.metadata import distributions
from pathlib import Path

import psutil
import pyarrow
import pyarrow.parquet
import pytest

from runtime.tracking.store import RunLog
from runtime.tracking.system import packages


@pytest.fixture
def store(toy_template, tmp_path):
    """An empty SQLite store in a git repository with one commit."""
    shutil.copy(toy_template / "mlflow.db", tmp_path / "mlflow.db")
    (tmp_path / "code.py").write_text("one = 1\n")
    (tmp_path / ".gitignore").write_text("ml*\n")
    for command in ("init -q", "add -A", "-c user.name=toy -c user.email=toy@localhost commit -qm one"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    return tmp_path


def begin(store, **changes):
    return {
        "uri": f"sqlite:///{store}/mlflow.db",
        "root": str(store),
        "experiment": "taca",
        "name": "train@a",
        "parent": None,
        "dvc": None,
        "pid": os.getpid(),
        "pid_started": str(psutil.Process().create_time()),
        "start_ms": 1000,
        "params": {"train.steps": 3},
        "tags": {"stage": "train@a"},
        "inputs": [],
        "pipeline_outs": ["results"],
        **changes,
    }


def stored(log):
    return log._client.get_run(log.run_id)


def artifact(log, path):
    return Path(log._client.download_artifacts(log.run_id, path))


def out(content, path, md5="a" * 32, size=1, files=()):
    return {"path": path, "content": str(content), "md5": md5, "size": size, "files": files}


def test_run_holds_code_machine_and_parameters(store):
    (store / "results").mkdir()
    (store / "results" / "metrics.json").write_text("{}")  # an output is no edit
    run = stored(RunLog(begin(store)))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=store, capture_output=True, text=True).stdout.strip()
    assert run.data.params == {"train.steps": "3"}
    assert run.data.tags["git.commit"] == commit
    assert run.data.tags["git.dirty"] == "false"
    assert run.data.tags["host"] == socket.gethostname()
    assert run.info.artifact_uri.startswith(f"file://{store}/mlartifacts/")


def test_edits_that_are_not_committed_are_stored(store):
    (store / "code.py").write_text("one = 2\n")
    (store / "new.py").write_text("two = 2\n")
    (store / "params.yaml").write_text("train: {steps: 3}\n")
    log = RunLog(begin(store))
    assert stored(log).data.tags["git.dirty"] == "true"
    assert "+one = 2" in artifact(log, "git.diff").read_text()
    assert artifact(log, "params.yaml").read_text() == "train: {steps: 3}\n"
    with tarfile.open(artifact(log, "untracked.tar.gz")) as archive:
        assert archive.getnames() == ["new.py", "params.yaml"]
    assert "pytest==" in artifact(log, "environment/packages.txt").read_text()


def test_small_outputs_are_stored_and_large_ones_listed(store):
    (store / "adapter").mkdir()
    (store / "adapter" / "weights").write_text("w")
    (store / "a.json").write_text("{}")
    log = RunLog(begin(store))
    images = [[f"{index}.png", "b" * 32, 10] for index in range(101)]
    log.log_outs(
        [
            out(store / "adapter", "models/adapters/a", "1" * 32 + ".dir", files=[["weights", "c" * 32, 1]]),
            out(store / "a.json", "results/metrics/a.json", "2" * 32),
            out(store, "results/images/a", "3" * 32 + ".dir", files=images),
            out(store / "big", "models/big", "4" * 32, size=51 * 2**20),
        ],
        tags={"device": "cpu"},
        metrics={"system/wall_seconds": 1.5},
    )
    log.flush()
    assert artifact(log, "outs/models/adapters/a/weights").read_text() == "w"
    assert artifact(log, "outs/results/metrics/a.json").read_text() == "{}"
    listed = json.loads(artifact(log, "outs/results/images/a.manifest.json").read_text())
    assert (listed["path"], listed["md5"], len(listed["files"])) == ("results/images/a", "3" * 32 + ".dir", 101)
    assert artifact(log, "outs/models/big.manifest.json").exists()
    run = stored(log)
    assert run.data.tags["dvc.out.results/images/a"] == "3" * 32 + ".dir"
    assert run.data.tags["device"] == "cpu"
    assert run.data.metrics == {"system/wall_seconds": 1.5}


def test_curves_are_written_in_batches_and_at_the_end(store):
    log = RunLog(begin(store))
    for step in range(1200):
        log.add_metrics({"loss": 1 / (step + 1)}, step, 1000 + step)
    log.end("FINISHED", "")
    history = log._client.get_metric_history(log.run_id, "loss")
    assert [point.step for point in history] == list(range(1200))
    assert stored(log).info.status == "FINISHED"


def test_inputs_are_data_sets_with_hash_context_and_columns(store):
    """A table's columns are its schema, a folder's those of its index; other data have none."""
    table = pyarrow.table({"prompt": ["a"], "index": [1], "score": [0.5]})
    (store / "data" / "sample").mkdir(parents=True)
    pyarrow.parquet.write_table(table, store / "data" / "sample" / "index.parquet")
    pyarrow.parquet.write_table(table, store / "data" / "prompts.parquet")
    (store / "data" / "words.txt").write_text("words")
    read = {"md5": "5" * 32 + ".dir", "size": 7, "context": "train"}
    paths = ["data/sample", "data/prompts.parquet", "data/words.txt"]
    log = RunLog(begin(store, inputs=[{"name": path, "path": path, **read} for path in paths]))
    found = {entry.dataset.name: entry for entry in stored(log).inputs.dataset_inputs}
    assert sorted(found) == sorted(paths)
    assert {entry.dataset.digest for entry in found.values()} == {"5" * 32 + ".dir"}
    tags = {tag.key: tag.value for tag in found["data/sample"].tags}
    assert tags == {"dvc.path": "data/sample", "dvc.md5": "5" * 32 + ".dir", "mlflow.data.context": "train"}
    for path in paths[:2]:
        columns = json.loads(found[path].dataset.schema)["mlflow_colspec"]
        types = {column["name"]: column["type"] for column in columns}
        assert types == {"prompt": "string", "index": "long", "score": "double"}
    assert not found["data/words.txt"].dataset.schema
    assert json.loads(found["data/words.txt"].dataset.profile) == {"bytes": 7}


def test_paths_with_any_characters_and_long_values_are_taken(store):
    tags = {"dvc.dep.data/a+b, ü (1).txt": "6" * 32, "long": "x" * 20000}
    log = RunLog(begin(store, tags=tags, params={f"p.{index}": "y" * 9000 for index in range(150)}))
    run = stored(log)
    assert "6" * 32 in run.data.tags.values()
    assert len(run.data.params) == 150


def test_names_of_metrics_with_any_characters_are_taken(store):
    """A cell of a grid is called "gamma-on+lora-off"."""
    log = RunLog(begin(store))
    log.add_metrics({"gamma-on+lora-off/color": 0.5}, step=0, time_ms=1)
    log.end("FINISHED", "")
    assert stored(log).data.metrics == {"gamma-on_lora-off/color": 0.5}


def test_runs_whose_process_is_gone_are_marked_killed(store):
    """A number that another process has by now does not count as alive; a run of another host is left alone."""
    gone = RunLog(begin(store, pid=2**22 + 1, name="gone"))
    reused = RunLog(begin(store, pid_started="1.0", name="reused"))
    elsewhere = RunLog(begin(store, pid=2**22 + 1, name="elsewhere"))
    elsewhere._client.set_tag(elsewhere.run_id, "host", "another")
    alive = RunLog(begin(store))
    alive.kill_orphans()
    statuses = [stored(log).info.status for log in (gone, reused, elsewhere, alive)]
    assert statuses == ["KILLED", "KILLED", "RUNNING", "RUNNING"]


def test_parent_is_another_run_and_stays_open(store):
    parent = RunLog(begin(store, name="flow"))
    child = RunLog(begin(store, parent=parent.run_id))
    child.end("FAILED", "the loss is nan")
    assert stored(child).data.tags["mlflow.parentRunId"] == parent.run_id
    assert stored(child).data.tags["error"] == "the loss is nan"
    assert (stored(child).info.status, stored(parent).info.status) == ("FAILED", "RUNNING")


def test_packages_are_those_that_importlib_reads():
    read = {f"{found.metadata['Name']}=={found.version}" for found in distributions()}
    assert packages().splitlines() == sorted(read, key=str.lower)
