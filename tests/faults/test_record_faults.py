"""Odd places and states: each real command says one sentence without a traceback, and MLflow's record stays true."""

import shutil
import sys

import pytest

from tests.conftest import STORE, Toy

PLACES = ["feature%2Flogin", "what?", "c#", "a%20b?x=1#y"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_record_is_in_the_repository_whatever_its_path(toy_template, tmp_path, name):
    """Nothing lies beside it."""
    toy = Toy(shutil.copytree(toy_template, tmp_path / name))
    toy.repro("write@b")
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert (toy.root / "mlflow.db").exists()
    assert list((toy.root / "mlartifacts").iterdir())


@pytest.mark.slow
def test_stages_of_an_experiment_record_in_the_repository(toy):
    """With a relative address too; each run names the experiment."""
    done = toy.run("dvc", "exp", "run", "--temp", "-S", "train.seed=9", MLFLOW_TRACKING_URI="sqlite:///mlflow.db")
    assert done.returncode == 0, done.stderr
    all_name_their_experiment(toy)


@pytest.mark.slow
def test_queued_experiments_record_in_the_repository(toy):
    assert toy.run("dvc", "exp", "run", "--queue", "-S", "train.seed=9").returncode == 0
    try:
        assert toy.run("dvc", "queue", "start").returncode == 0
        all_name_their_experiment(toy)
    finally:
        toy.run("dvc", "queue", "stop", "--kill")


def all_name_their_experiment(toy):
    """Four stages' runs and, once DVC has ended, the one above them."""
    runs = toy.ended_runs(4)
    toy.until(lambda: [run.info.status for run in toy.repros()] == ["FINISHED"])
    (above,) = toy.repros()
    assert above.info.run_name == f"dvc exp run {above.data.tags['dvc.exp_name']}"
    for run in [*runs, above]:
        assert {"dvc.exp_name", "dvc.exp_baseline"} <= run.data.tags.keys()


def test_deleted_experiment_is_told_with_the_remedy(toy):
    """The stage does not begin, and is not tried again."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(STORE.format(root=toy.root))
    client.delete_experiment(client.create_experiment("taca"))
    done = toy.run("dvc", "repro", "-q", "write@b")
    assert done.returncode != 0
    assert "mlflow experiments restore" in done.stderr
    assert "Traceback" not in done.stderr
    assert toy.made() == toy.runs() == []


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml", "params.yaml"])
def test_marks_of_a_conflict_are_told_with_their_line(toy, name):
    lines = (toy.root / name).read_text().splitlines(keepends=True)
    (toy.root / name).write_text("".join([*lines[:2], "<<<<<<< HEAD\n", *lines[2:]]))
    done = toy.run(sys.executable, "-m", "flows.pipeline", "--plan")
    assert done.returncode == 1
    assert f"{name}: line 3 is the mark of a conflict" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("uri", ["localhost:5000", "./mlruns", "file:///tmp/mlruns", "sqlite:///:memory:", "sqlite://"])
def test_addresses_that_keep_no_runs_are_refused(toy, uri):
    done = toy.run(sys.executable, "-m", "stages.write", "b", MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 1
    assert "but must be the address of a server" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["flows.pipeline", "--plan"], ["flows.gc"]])
def test_archive_without_git_is_told_with_the_remedy(toy, command):
    shutil.rmtree(toy.root / ".git")
    done = toy.run(sys.executable, "-m", *command)
    assert done.returncode == 1
    assert "git init" in done.stderr
    assert "Traceback" not in done.stderr
