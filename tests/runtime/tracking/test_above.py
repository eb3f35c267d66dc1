"""The run above those of one `dvc repro`: opened by its first stage, ended with DVC and as DVC ended."""

import signal

import pytest
from mlflow.tracking import MlflowClient

from tests.conftest import STORE


def ended(toy, number):
    """The runs above, once there are so many and all have ended, with the stages below each."""
    toy.until(lambda: [run.info.status != "RUNNING" for run in toy.repros()] == [True] * number)
    below = toy.runs()
    return [
        (run, [one.data.tags["stage"] for one in below if one.data.tags.get("mlflow.parentRunId") == run.info.run_id])
        for run in toy.repros()
    ]


@pytest.mark.long
def test_repro_is_one_run_above_its_stages_and_one_that_runs_nothing_is_none(toy):
    """It says what was asked for, sums the costs, and ends with DVC."""
    toy.repro()
    ((run, stages),) = ended(toy, 1)
    assert (run.info.run_name, run.info.status) == ("dvc repro -q", "FINISHED")
    assert sorted(stages) == ["join", "write@a", "write@b"]
    costs = [one.data.metrics["cost/device_seconds"] for one in toy.runs()]
    assert run.data.metrics["cost/device_seconds"] == sum(costs) > 0
    assert run.data.tags["git.commit"] == toy.runs()[0].data.tags["git.commit"]
    toy.repro()
    assert len(toy.repros()) == 1


@pytest.mark.long
def test_repro_with_a_stage_that_fails_is_failed(toy):
    done = toy.run("dvc", "repro", "-q", "--keep-going", TOY_FAULT="known")
    assert done.returncode != 0
    ((run, stages),) = ended(toy, 1)
    assert run.info.status == "FAILED"
    assert sorted(stages) == ["write@a", "write@b"]
    assert run.data.tags["error"] == "write@a, write@b failed or could not be saved"


@pytest.mark.long
def test_repro_whose_dvc_is_killed_is_killed(toy):
    dvc = toy.start("dvc", "repro", "-q", TOY_SECONDS="0.7")
    toy.until(lambda: len(toy.made()) >= 2)
    dvc.kill()
    dvc.wait()
    ((run, _),) = ended(toy, 1)
    assert (run.info.status, run.data.tags["error"]) == ("KILLED", "dvc was killed")


@pytest.mark.long
def test_repro_whose_stage_is_killed_is_failed(toy):
    """DVC itself ends by its own will then."""
    dvc = toy.start("dvc", "repro", "-q", "write@a", TOY_SECONDS="0.7")
    toy.until(lambda: len(toy.made()) >= 2)
    stage = int(toy.made()[0].split()[0])
    toy.run("kill", f"-{signal.SIGKILL.value}", str(stage))
    assert dvc.wait() != 0
    ((run, _),) = ended(toy, 1)
    assert run.info.status == "FAILED"
    assert [one.info.status for one in toy.runs()] == ["KILLED"]


@pytest.mark.long
def test_two_worktrees_at_once_are_two_runs(toy):
    """In one store, each with its own stages below it."""
    other = toy.root.parent / "worktree"
    assert toy.run("git", "worktree", "add", "-q", "--detach", str(other)).returncode == 0
    store = {"MLFLOW_TRACKING_URI": STORE.format(root=toy.root)}
    started = [toy.start("dvc", "--cd", str(root), "repro", "-q", "write", **store) for root in (toy.root, other)]
    assert [dvc.wait() for dvc in started] == [0, 0], (toy.root / "started.log").read_text()
    found = ended(toy, 2)
    assert [run.info.status for run, _ in found] == ["FINISHED", "FINISHED"]
    assert all({"write@a", "write@b"} <= set(stages) for _, stages in found)
    assert len({run.data.tags["dvc.process"] for run, _ in found}) == 2


@pytest.mark.long
def test_stage_without_dvc_has_no_run_above(toy):
    assert toy.run("python", "-m", "stages.write", "a").returncode == 0
    (run,) = MlflowClient(STORE.format(root=toy.root)).search_runs(["1"])
    assert "mlflow.parentRunId" not in run.data.tags
