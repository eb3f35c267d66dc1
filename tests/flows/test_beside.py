"""Flows beside their user's work: a workspace of a branch, parameters that are committed, results as an experiment."""

import json
import shutil
import sys

import pytest
from local_servers import prefect_server

from flows.beside import lock, place
from flows.errors import TOLD
from flows.running.housekeeping import LOCK
from flows.running.repository import environment
from runtime.errors import StageError
from runtime.execution.lock import if_free
from runtime.params import read_yaml
from runtime.tracking import tracking_uri
from runtime.tracking.place import artifact_location
from runtime.tracking.tree import keep_tree
from tests.conftest import ROOT


def git(toy, *arguments):
    done = toy.run("git", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def toy(toy):
    """With profiles, which the toy has none of."""
    shutil.copytree(ROOT / "experiments", toy.root / "experiments")
    git(toy, "add", "-A")
    git(toy, "-c", "user.name=toy", "-c", "user.email=toy@localhost", "commit", "-qm", "profiles")
    return toy


@pytest.mark.long
def test_workspace_is_the_branch_and_not_the_edited_checkout(toy, tmp_path):
    git(toy, "branch", "night")
    (toy.root / "stages" / "write.py").write_text("half edited (\n")
    with place(toy.root, "pipeline", "night", None, None) as at:
        assert at.root != toy.root
        assert at.commit == git(toy, "rev-parse", "night") == git(toy, "-C", str(at.root), "rev-parse", "HEAD")
        assert "half" not in (at.root / "stages" / "write.py").read_text()
        assert (at.root / "data" / "params-checked.txt").exists()
        assert keep_tree(at.root, [], tmp_path)["git.dirty"] == "false"
    assert not at.root.exists()
    assert (toy.root / "stages" / "write.py").read_text() == "half edited (\n"


@pytest.mark.long
@pytest.mark.parametrize("uri", ["", "sqlite:///mine.db", "postgresql://127.0.0.1/mlflow"])
def test_what_runs_keep_is_in_the_checkout_and_not_in_the_workspace(toy, monkeypatch, uri):
    """Whatever store: artifacts of an experiment that is new to it too."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with place(toy.root, "pipeline", "HEAD", None, None) as at:
        for told in (tracking_uri(at.root), environment(at.root)["MLFLOW_TRACKING_URI"]):
            assert at.root.name not in told
            assert artifact_location(told, at.root) == (toy.root / "mlartifacts").as_uri()


@pytest.mark.long
def test_parameters_are_a_commit_that_is_always_the_same(toy, tmp_path):
    commits = set()
    for _ in range(2):
        with place(toy.root, "pipeline", "HEAD", "quick", {"train.seed": 8, "arms.baseline.guidance": 4.0}) as at:
            params = read_yaml(at.root / "params.yaml")
            assert (params["train"]["seed"], params["arms"]["baseline"]["guidance"]) == (8, 4.0)
            tags = keep_tree(at.root, [], tmp_path)
            assert tags["git.dirty"] == "false"
            commits.add(tags["git.commit"])
    assert len(commits) == 1
    assert git(toy, "rev-parse", f"{commits.pop()}^") == git(toy, "rev-parse", "HEAD")
    assert git(toy, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("branch", "profile", "overrides", "said"),
    [
        ("nowhere", None, None, "git knows no branch, tag or commit 'nowhere'"),
        ("--all", None, None, "git knows no branch, tag or commit '--all'"),
        ("HEAD", "quik", None, "There is no profile 'quik'"),
        ("HEAD", None, {"train.sted": 1}, "there is no parameter 'train.sted' in params.yaml"),
        ("HEAD", None, {"train.steps": -1}, "`train.steps` is -1, but must be"),
        ("HEAD", None, {"train": 3}, "`train` is 3"),
        (None, "quick", None, "go with `branch`"),
        (None, None, {"train.steps": 1}, "go with `branch`"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_work(toy, branch, profile, overrides, said):
    with pytest.raises(TOLD) as refused, place(toy.root, "pipeline", branch, profile, overrides):
        pass
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert git(toy, "worktree", "list").count("\n") == 0


@pytest.mark.long
def test_second_flow_of_the_same_is_refused_and_another_is_not(toy):
    with place(toy.root, "pipeline", "HEAD", None, None) as at:
        with pytest.raises(StageError, match="runs already on HEAD"), place(toy.root, "pipeline", "HEAD", None, None):
            pass
        with place(toy.root, "pipeline", "HEAD", None, {"train.seed": 8}) as other:
            assert other.root != at.root
    with if_free(lock(toy.root, at.experiment)) as free:
        assert free


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_flow_of_a_branch_leaves_a_clean_record_and_an_experiment(toy):
    """While another flow holds the checkout, whose files are half edited; the second time nothing runs."""
    text = (toy.root / "stages" / "write.py").read_text()
    (toy.root / "stages" / "write.py").write_text("half edited (\n")
    with prefect_server(toy.root) as url, if_free(toy.root / LOCK):
        for time in (1, 2):
            done = toy.run(sys.executable, "-c", NIGHT, PREFECT_API_URL=url)
            assert done.returncode == 0, done.stdout + done.stderr
            assert len(toy.made()) == 0
            assert len(toy.runs()) == (5 if time == 1 else 6)  # with that of `check`
        page = json.dumps(artifacts(toy, url, "http://127.0.0.1:6001"))
    runs = toy.ended_runs(6)
    head = git(toy, "rev-parse", "HEAD")
    (made,) = git(toy, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    name = made.rpartition("/")[2]
    assert made == f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    for run in runs:
        assert run.data.tags["git.dirty"] == "false"
        assert run.data.tags["git.commit"] == git(toy, "rev-parse", f"{made}^")
        assert run.data.tags["dvc.exp_name"] == name
        assert run.data.tags["dvc.exp_baseline"] == head
    assert runs[-1].data.tags["dvc.exp_rev"] == git(toy, "rev-parse", made)
    assert runs[-1].data.tags["stage.join"] == "cached"
    assert "http://127.0.0.1:6001/#/experiments/" in page
    assert "http://127.0.0.1:5000" not in page
    assert not list((toy.root / ".work").glob("branches/*"))
    (toy.root / "stages" / "write.py").write_text(text)
    done = toy.run("dvc", "exp", "apply", name)
    assert done.returncode == 0, done.stderr
    assert read_yaml(toy.root / "params.yaml")["train"]["seed"] == 8
    assert (toy.root / "out" / "a" / "3.txt").read_text() == "8 3\n"
    assert name in toy.run("dvc", "exp", "list").stdout


def artifacts(toy, url, pages):
    """What Prefect keeps of flows once MLflow's pages are elsewhere."""
    done = toy.run(sys.executable, "-c", RELINKED, pages, PREFECT_API_URL=url)
    assert done.returncode == 0, done.stderr
    return done.stdout


NIGHT = """
from flows.running.flow import pipeline
state = pipeline(branch="HEAD", overrides={"train.seed": 8}, return_state=True)
assert state.is_completed(), state.message
"""
RELINKED = """
import sys
from prefect.client.orchestration import get_client
from flows.services.deploy import relink
relink(sys.argv[1])
with get_client(sync_client=True) as client:
    print([artifact.data for artifact in client.read_artifacts(sort="ID_DESC", limit=200, offset=0)])
"""
