"""Odd places and states: each real command says one sentence without a traceback, and MLflow's record stays true."""

import shutil
import socket
import stat
import subprocess
import sys
import time

import pytest

from runtime.tracking.system import SILENCE, has_ended, pid_space
from tests import recorders
from tests.conftest import ROOT, Toy

NOBODY = 54321
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
    assert above.info.run_name.startswith("dvc exp run ")
    for run in [*runs, above]:
        assert {"dvc.exp_name", "dvc.exp_baseline"} <= run.data.tags.keys()


# In a user namespace, where the owner of the files is such a number, and no root who may everything.
AS_NOBODY = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")


def as_nobody(toy, *command):
    """Runs it as a user whose number has no name."""
    if subprocess.run([*AS_NOBODY, "true"], capture_output=True).returncode != 0:
        pytest.skip("no user namespaces here")
    named = ("USER", "LOGNAME", "LNAME", "USERNAME")
    # Its recorder is started by that user too.
    toy.env = {key: value for key, value in toy.env.items() if key not in (*named, recorders.PLACE)}
    return toy.run(*AS_NOBODY, *command)


@pytest.mark.long
def test_a_user_without_a_name_is_recorded_by_number(toy):
    done = as_nobody(toy, sys.executable, "-m", "stages.write", "b")
    assert done.returncode == 0, done.stderr
    (run,) = toy.ended_runs(1)
    assert run.data.tags["mlflow.user"] == str(NOBODY)
    assert run.data.tags["git.commit"] != "none"


@pytest.mark.long
def test_outputs_have_the_rights_that_the_user_gives_files(toy):
    """Others read weights too, and a mask that forbids that is heeded."""
    for mask, rights in (("022", 0o644), ("077", 0o600)):
        shutil.rmtree(toy.root / ".work", ignore_errors=True)
        shutil.rmtree(toy.root / "out", ignore_errors=True)
        done = toy.run("sh", "-c", f"umask {mask}; exec {sys.executable} -m stages.write b")
        assert done.returncode == 0, done.stderr
        files = [path for path in (toy.root / "out" / "b").rglob("*") if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {rights}


@pytest.mark.long
def test_what_a_profile_overwrites_is_kept(toy):
    shutil.copytree(ROOT / "experiments", toy.root / "experiments", dirs_exist_ok=True)
    edited = (toy.root / "params.yaml").read_text().replace("seed: 0", "seed: 5") + "# mine\n"
    (toy.root / "params.yaml").write_text(edited)
    done = toy.run(sys.executable, "-m", "lab.params.profile", "quick")
    assert done.returncode == 0, done.stderr
    (kept,) = (toy.root / ".work").glob("params-*.yaml")
    assert kept.read_text() == edited
    assert kept.name in done.stdout
    assert toy.run(sys.executable, "-m", "lab.params.profile", "quick").returncode == 0
    assert len(list((toy.root / ".work").glob("params-*.yaml"))) == 1


def test_runs_of_another_machine_with_this_name_are_left_alone():
    """Of its process nothing is known here but its signs of life."""
    now = time.time()
    here = {"host": socket.gethostname(), "pid": "1", "pid.started": "1.0"}
    assert has_ended(here | {"pid.space": pid_space(), "heartbeat": str(now)}), "the number is another process's"
    assert not has_ended(here | {"pid.space": "another boot", "heartbeat": str(now)})
    assert has_ended(here | {"pid.space": "another boot", "heartbeat": str(now - SILENCE - 1)})
    assert not has_ended(here), "of an earlier version, which left none"
