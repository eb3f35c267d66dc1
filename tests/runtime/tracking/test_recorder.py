"""The recorder process: it outlives its stage, and many may start at once."""

import os

import pytest

from runtime.tracking import Recorder


def begin(toy):
    """A run of a process that is gone."""
    return {
        "uri": f"sqlite:///{toy.root}/mlflow.db",
        "root": str(toy.root),
        "experiment": "taca",
        "name": "write@a",
        "parent": None,
        "dvc": None,
        "pid": 2**22 + 1,
        "pid_started": "1.0",
        "start_ms": 1000,
        "params": {},
        "tags": {},
        "inputs": [],
        "pipeline_outs": [],
    }


@pytest.mark.long
def test_stage_killed_before_mlflow_is_imported_is_on_record(toy):
    """What it had said by then is kept, a message that the kill has cut is not."""
    recorder = Recorder(toy.root)
    recorder.tell("begin", **begin(toy))
    recorder.tell("add_metrics", values={"loss": 0.5}, step=1, time_ms=1000)
    os.write(recorder._connection.fileno(), b"\0\0\1\0half of")
    recorder._connection.close()
    toy.until(lambda: [run.info.status for run in toy.runs()] == ["KILLED"])
    assert toy.runs()[0].data.metrics["loss"] == 0.5


@pytest.mark.long
def test_store_that_cannot_be_opened_is_a_failure_that_can_be_asked_for(toy):
    (toy.root / "mlflow.db").write_bytes(b"this is no database" * 100)
    recorder = Recorder(toy.root)
    recorder.tell("begin", **begin(toy))
    toy.until(lambda: recorder.failure() is not None)
    assert recorder.failure().startswith(f"MLflow at sqlite:///{toy.root}/mlflow.db cannot be written (")


@pytest.mark.slow
def test_first_stages_may_start_together(toy):
    """They find no database, one of them makes it, and all are recorded."""
    (toy.root / "mlflow.db").unlink()
    commands = [["write", "a"], ["write", "b"], ["check"]]
    started = [toy.start("python", "-m", f"stages.{program}", *key) for program, *key in commands]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert sorted(run.info.run_name for run in toy.runs()) == ["check", "write@a", "write@b"]
