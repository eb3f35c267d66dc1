"""A run made again from what MLflow holds of it; each stage here really runs twice."""

import json
import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mlflow.tracking import MlflowClient

from flows.errors import TOLD
from flows.rebuild import rebuild
from flows.rebuilding.rerun import bring_data
from flows.rebuilding.runs import StageRun, changed_surroundings
from runtime.errors import StageError
from runtime.execution.hashes import Hasher
from tests.conftest import ROOT, STORE, kill_group

slow = pytest.mark.slow
BEFORE_THE_MOVE = "82f507b"  # stages were `python stages/x.py`, and what ran them a part of taca
AUTHOR = ("-c", "user.name=toy", "-c", "user.email=toy@localhost")


@pytest.fixture
def store(toy):
    return MlflowClient(STORE.format(root=toy.root))


def again(toy, run, *arguments, **env):
    return toy.run("python", "-m", "flows.rebuild", run.info.run_id, *arguments, **env)


def run_of(toy, stage):
    """The newest run of a stage."""
    return next(run for run in reversed(toy.runs()) if run.info.run_name == stage)


def verdict_of(store, run):
    """What the run holds of its rebuild: the verdict in its tags, and the document."""
    tags = store.get_run(run.info.run_id).data.tags
    document = json.loads(Path(store.download_artifacts(run.info.run_id, "rebuild/verdict.json")).read_text())
    assert tags["rebuild.verdict"] == document["kind"]
    assert tags["rebuild.why"] == document["why"]
    return tags["rebuild.verdict"], document


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def commit(toy, *options):
    for command in (["add", "-A"], [*AUTHOR, "commit", "-qm", "edited", *options]):
        done = toy.run("git", *command)
        assert done.returncode == 0, done.stderr
    return toy.run("git", "rev-parse", "HEAD").stdout.strip()


@slow
def test_clean_run_is_identical_and_the_users_workspace_untouched(toy, store):
    """Its inputs come from the cache; it is executed, although DVC could take it from the run cache."""
    toy.repro()
    commit(toy)
    shutil.rmtree(toy.root / "out")
    run = run_of(toy, "join")
    done = again(toy, run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"join of run {run.info.run_id}: identical\n" in done.stdout
    assert "Environment: the same." in done.stdout
    verdict, document = verdict_of(store, run)
    assert (verdict, document["differences"], document["environment"]) == ("identical", [], {})
    fresh = store.get_run(document["rebuild_id"])
    assert fresh.info.status == "FINISHED"
    assert fresh.data.tags["mlflow.parentRunId"] == fresh.data.tags["rebuild.of"] == run.info.run_id
    assert fresh.data.tags["dvc.outs"] == run.data.tags["dvc.outs"]
    digest = run.data.tags["dvc.out.out/joined.txt"]
    found = toy.run("python", "-m", "runtime.tracking.find", digest).stdout
    assert run.info.run_id in found
    assert fresh.info.run_id not in found
    assert not (toy.root / "out").exists()
    assert toy.run("git", "status", "--porcelain").stdout == ""
    assert toy.run("git", "worktree", "list").stdout.count("\n") == 1
    assert not (toy.root / ".work" / "rebuild").exists()


@slow
def test_run_on_a_dirty_tree_is_identical(toy, store):
    """A change of a binary file, and a module and parameters that git does not know."""
    (toy.root / "stages" / "table.bin").write_bytes(bytes(range(256)))
    commit(toy)
    (toy.root / "stages" / "table.bin").write_bytes(bytes(reversed(range(256))) + b"\n\n")
    (toy.root / "stages" / "shade.py").write_text(
        "from pathlib import Path\nSHADE = Path('stages/table.bin').read_bytes()[0]\n"
    )
    edit(toy.root / "stages" / "write.py", '"pieces": 1', '"pieces": 255')
    edit(toy.root / "stages" / "write.py", "import sys\n", "import sys\n\nfrom stages.shade import SHADE\n")
    edit(toy.root / "stages" / "write.py", "{piece}\\n", "{piece} {SHADE}\\n")
    edit(toy.root / "params.yaml", "seed: 3", "seed: 4")
    toy.repro("write@a")
    assert (toy.root / "out" / "a" / "0.txt").read_text() == "4 0 255\n"
    toy.run("git", *AUTHOR, "stash", "-u")  # what the user does next is of no matter
    run = run_of(toy, "write@a")
    assert run.data.tags["git.dirty"] == "true"
    done = again(toy, run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert verdict_of(store, run)[0] == "identical"


@slow
@pytest.mark.timeout(600)
def test_one_changed_line_is_seen(toy, store, tmp_path):
    """In the stage's own code, where a commit was amended under the run; in code beside the repository."""
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "shade.py").write_text("SHADE = 1\n")
    env = {"PYTHONPATH": f"{tmp_path / 'installed'}{os.pathsep}{toy.env['PYTHONPATH']}"}
    edit(toy.root / "stages" / "write.py", "import sys\n", "import sys\n\nfrom shade import SHADE\n")
    edit(toy.root / "stages" / "write.py", "1 / (piece + 1)", "SHADE / (piece + 1)")
    commit(toy)
    toy.repro("write@a", **env)
    run = run_of(toy, "write@a")

    (tmp_path / "installed" / "shade.py").write_text("SHADE = 2\n")
    done = again(toy, run, **env)
    assert done.returncode == 1, done.stdout + done.stderr
    verdict, document = verdict_of(store, run)
    assert verdict == "different"
    assert document["differences"] == [{"what": "metric loss", "size": 0.5, "where": "step 0"}]
    (tmp_path / "installed" / "shade.py").write_text("SHADE = 1\n")

    edit(toy.root / "stages" / "write.py", "{piece}\\n", "{piece}!\\n")
    store.set_tag(run.info.run_id, "git.commit", commit(toy, "--amend"))
    done = again(toy, run, **env)
    assert done.returncode == 1, done.stdout + done.stderr
    verdict, document = verdict_of(store, run)
    assert verdict == "different"
    assert [found["what"] for found in document["differences"]] == ["code stages/write.py", "output out/a"]
    assert "output out/a (0.txt other bytes)" in document["why"]


@slow
@pytest.mark.timeout(600)
def test_small_differences_are_within_a_tolerance(toy, store):
    edit(
        toy.root / "stages" / "write.py",
        """'{"pieces": 1}\\n'""",
        """'{"pieces": %r}' % float(os.environ["TOY_VALUE"])""",
    )
    edit(toy.root / "stages" / "write.py", "1 / (piece + 1)", "float(os.environ['TOY_VALUE'])")
    toy.repro("write@a", TOY_VALUE="0.5")
    run = run_of(toy, "write@a")
    done = again(toy, run, TOY_VALUE="0.50000001")
    assert done.returncode == 0, done.stdout + done.stderr
    verdict, document = verdict_of(store, run)
    assert verdict == "within tolerance"
    sizes = {found["what"]: found["size"] for found in document["differences"]}
    assert sizes == {"output metrics-a.json": pytest.approx(1e-8), "metric loss": pytest.approx(1e-8)}
    assert float(store.get_run(run.info.run_id).data.tags["rebuild.largest_difference"]) == pytest.approx(1e-8)

    done = again(toy, run, "--tolerance", "1e-9", TOY_VALUE="0.50000001")
    assert done.returncode == 1, done.stdout + done.stderr
    assert verdict_of(store, run)[0] == "different"


@slow
@pytest.mark.timeout(600)
def test_inputs_come_from_a_remote_or_the_rebuild_cannot_be(toy, store, tmp_path):
    toy.repro()
    toy.run("dvc", "remote", "add", "--local", "--default", "storage", str(tmp_path / "storage"))
    assert toy.run("dvc", "push", "-q").returncode == 0
    toy.run("dvc", "remote", "remove", "--local", "storage")
    shutil.rmtree(toy.root / ".dvc" / "cache")
    shutil.rmtree(toy.root / "out")
    run = run_of(toy, "join")
    done = again(toy, run)
    assert done.returncode == 1, done.stdout + done.stderr
    verdict, document = verdict_of(store, run)
    assert verdict == "cannot"
    assert document["why"].startswith(
        "out/a, out/b cannot be had as the run read it, neither from DVC's cache nor a remote"
    )
    assert document["rebuild_id"] is None
    assert len([run for run in toy.runs() if run.info.run_name == "join"]) == 1

    toy.run("dvc", "remote", "add", "--local", "--default", "storage", "../storage")
    done = again(toy, run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert verdict_of(store, run)[0] == "identical"


@slow
def test_stage_that_fails_cannot_be_rebuilt(toy, store):
    toy.repro("write@a")
    run = run_of(toy, "write@a")
    store.set_tag(run.info.run_id, "git.untracked.skipped", "weights.bin")
    done = again(toy, run, TOY_FAULT="known")
    assert done.returncode == 1
    verdict, document = verdict_of(store, run)
    assert verdict == "cannot"
    assert document["why"] == (
        "The stage failed: the loss is nan at step 1; lower `train.learning_rate`. "
        "Untracked files that the run did not keep: weights.bin."
    )


@slow
@pytest.mark.timeout(600)
def test_run_of_before_the_packages_moved_is_rebuilt_after_it(toy, store, tmp_path):
    """Its commands are of another form, and it runs with the code of its own commit."""
    archive = ["git", "-C", str(ROOT), "archive", "-o", str(tmp_path / "old.tar"), BEFORE_THE_MOVE]
    if subprocess.run([*archive, "taca", "stages", "tests/toy", "experiments"], capture_output=True).returncode != 0:
        pytest.skip("a shallow clone does not have the commit before the move")
    toy.run(
        "tar", "-xf", str(tmp_path / "old.tar"), "taca", "stages/check.py", "tests/toy", "experiments/defaults.yaml"
    )
    shutil.copytree(toy.root / "tests" / "toy" / "stages", toy.root / "stages", dirs_exist_ok=True)
    (toy.root / "tests" / "toy" / "pipeline.yaml").rename(toy.root / "dvc.yaml")
    (toy.root / "experiments" / "defaults.yaml").rename(toy.root / "params.yaml")
    commit(toy)
    toy.repro(PYTHONPATH=str(toy.root))
    run = run_of(toy, "join")
    assert run.data.tags["cmd"] == "python stages/join.py"
    toy.run("git", "rm", "-rq", "taca")
    toy.run("git", "checkout", "-q", "HEAD~1", "--", ".")
    commit(toy)
    done = again(toy, run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert verdict_of(store, run)[0] == "identical"


@slow
def test_run_on_a_server_is_rebuilt_there(toy):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    command = f"mlflow server --host 127.0.0.1 --port {port} --workers 1 --backend-store-uri sqlite:///server.db"
    server = toy.start(*command.split(), MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    try:
        toy.until(lambda: b"Uvicorn running" in (toy.root / "started.log").read_bytes(), seconds=120)
        (toy.root / "stages" / "table.bin").write_bytes(b"\0 not known to git\xff")
        toy.repro("write@a", MLFLOW_TRACKING_URI=uri)
        store = MlflowClient(uri)
        (run,) = store.search_runs([store.get_experiment_by_name("taca").experiment_id], "tags.stage = 'write@a'")
        done = again(toy, run, MLFLOW_TRACKING_URI=uri)
        assert done.returncode == 0, done.stdout + done.stderr
        assert verdict_of(store, run)[0] == "identical"
        assert toy.runs() == []
    finally:
        kill_group(server)


def working_in(folder):
    """Processes whose working directory is below `folder`, also when that is gone."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found += [process.pid] if process.cwd().startswith(str(folder)) else []
    return found


@slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_rebuild_leaves_nothing_in_the_next_ones_way(toy, store, signum):
    """On SIGTERM the stage goes too; what SIGKILL leaves running is ended by the next rebuild."""
    toy.repro("write@a")
    run = run_of(toy, "write@a")
    place = toy.root / ".work" / "rebuild" / run.info.run_id
    process = toy.start("python", "-m", "flows.rebuild", run.info.run_id, TOY_SECONDS="20")
    try:
        toy.until(lambda: list(place.glob(".work/write-a-*/outs/out/a")))
        os.kill(process.pid, signum)
        process.wait()
        if signum is signal.SIGTERM:
            assert process.returncode == 128 + signal.SIGTERM
            assert not place.exists()
            assert toy.run("git", "worktree", "list").stdout.count("\n") == 1
        else:
            done = again(toy, run)
            assert done.returncode == 0, done.stdout + done.stderr
            assert verdict_of(store, run)[0] == "identical"
        toy.until(lambda: not working_in(place))
    finally:
        if process.poll() is None:
            kill_group(process)


@pytest.fixture
def recorded(toy, store):
    """Makes runs in the store, without executing anything."""
    experiment = store.create_experiment("taca", artifact_location=(toy.root / "mlartifacts").as_uri())
    head = toy.run("git", "rev-parse", "HEAD").stdout.strip()

    def make(status="FINISHED", **tags):
        tags = {"stage": "write@a", "git.commit": head, **tags}
        run = store.create_run(experiment, tags={key: tag for key, tag in tags.items() if tag}, run_name="made")
        store.log_text(run.info.run_id, "", "environment/packages.txt")
        store.set_terminated(run.info.run_id, status)
        return run.info.run_id

    return make


def refusal(toy, run_id, tolerance=1e-6):
    with pytest.raises(TOLD) as caught:
        rebuild(toy.root, run_id, tolerance)
    assert not list(toy.root.glob(".work/rebuild/*"))
    return str(caught.value)


def test_what_cannot_be_rebuilt_is_refused_before_anything_starts(toy, store, recorded, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "'../secret' is no run id: take the 32 hex digits" in refusal(toy, "../secret")
    assert "mlflow.db has no run " + "0" * 32 + ": take an id from `make ui`" in refusal(toy, "0" * 32)
    assert "is no run of a stage of this project: take one with the tag" in refusal(toy, recorded(stage=None))
    assert "of write@a is FAILED: only what finished can be compared" in refusal(toy, recorded("FAILED"))
    assert "was made outside git" in refusal(toy, recorded(**{"git.commit": "none"}))
    gone = recorded(**{"git.commit": "1" * 40})
    assert f"Commit {'1' * 40} of run {gone} is not in this repository: `git fetch --all`" in refusal(toy, gone)
    deleted = recorded()
    store.delete_run(deleted)
    assert f"was deleted: `mlflow runs restore --run-id {deleted}`" in refusal(toy, deleted)
    elsewhere = recorded()
    shutil.rmtree(toy.root / "mlartifacts" / elsewhere)
    assert f"Run {elsewhere} has no artifacts at file://" in refusal(toy, elsewhere)
    assert "--tolerance is nan: it must be a finite number" in refusal(toy, recorded(), float("nan"))


def test_store_that_is_not_there_is_refused(toy, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{toy.root}/other.db")
    assert f"There is no MLflow store {toy.root}/other.db" in refusal(toy, "0" * 32)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    assert "does not answer" in refusal(toy, "0" * 32)


def test_run_is_rebuilt_once_at_a_time(toy, recorded, monkeypatch):
    from runtime.execution.lock import if_free

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run_id = recorded()
    with if_free(toy.root / ".work" / "locks" / f"rebuild-{run_id}.lock"):
        assert f"Run {run_id} is being rebuilt already" in refusal(toy, run_id)


def test_other_surroundings_are_listed(store, recorded, tmp_path):
    """Machine, Python and packages, each with both values."""
    then, now = (
        StageRun(store, store.get_run(recorded(python=version, host="one"))) for version in ("3.10.1", "3.12.2")
    )
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment" / "packages.txt").write_text("gone==1\npsutil==0.1\n")
    found = changed_surroundings(then, now, tmp_path)
    assert found["python"] == ("3.10.1", "3.12.2")
    assert found["package psutil"] == ("0.1", psutil.__version__)
    assert found["package gone"] == ("1", "none")
    assert found["package pytest"] == ("none", pytest.__version__)
    assert "host" not in found


def test_data_from_outside_are_those_that_the_run_read(toy):
    """A folder of the user's that git does not have is seen from the workspace; one that has changed is refused."""
    there = toy.root / ".work" / "there"
    there.mkdir(parents=True)
    (toy.root / "pictures").mkdir()
    (toy.root / "pictures" / "a.txt").write_text("a")
    read = {"pictures": Hasher(toy.root)("pictures").md5}
    bring_data(toy.root, there, {}, read)
    assert (there / "pictures" / "a.txt").read_text() == "a"
    (toy.root / "pictures" / "a.txt").write_text("b")
    with pytest.raises(StageError, match=r"pictures cannot be had as the run read it, neither .*; put it back"):
        bring_data(toy.root, there, {}, read)
