"""`make gc`: what nothing refers to goes, and what anything refers to stays, in all three stores."""

import json
import os
import shutil
import sqlite3
import sys
import time
from hashlib import md5

import pytest

from flows.garbage.cache import recorded_hashes, unused_objects
from flows.garbage.runs import deleted_runs, live_words, old_failures
from flows.garbage.workspaces import left_workspaces
from flows.gc import main
from flows.running.workspace import add_workspace
from flows.sweeps import experiments
from runtime.errors import StageError
from runtime.execution.graph import read_recorded
from runtime.execution.lock import if_free
from runtime.tracking.store import RunLog
from tests.conftest import STORE, kill_group

COMMAND = (sys.executable, "-m", "flows.gc")
GIT = ("git", "-c", "user.name=toy", "-c", "user.email=toy@localhost")
DEAD = 2**22 + 1


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """No store or server but those that a test names."""
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def gc(toy, monkeypatch, capsys):
    """Runs the command in this process: its status or sentence, and what it prints."""

    def run(*arguments):
        monkeypatch.chdir(toy.root)
        monkeypatch.setattr(sys, "argv", ["gc", *arguments])
        monkeypatch.setattr(os, "_exit", sys.exit)
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().out

    return run


def make(toy, seed):
    """Stage write@b with this seed, in the workspace."""
    params = toy.root / "params.yaml"
    lines = params.read_text().split("\n")
    at = lines.index("train:                            # Eq. 13; what all adapters share")
    at = next(number for number in range(at, len(lines)) if lines[number].startswith("  seed:"))
    lines[at] = f"  seed: {seed}"
    params.write_text("\n".join(lines))
    toy.repro("write@b")


def commit(toy):
    assert toy.run(*GIT, "commit", "-qam", "more").returncode == 0


def restore(toy):
    """The workspace as it was committed."""
    for command in (["git", "checkout", "-q", "."], ["dvc", "checkout", "-q", "-f", "write@b"]):
        done = toy.run(*command)
        assert done.returncode == 0, done.stderr


def cached(toy, seed):
    """How many of the three objects (two files and their listing) of a seed are in the cache."""
    files = [md5(f"{seed} {piece}\n".encode()).hexdigest() for piece in range(2)]
    listing = f'[{{"md5": "{files[0]}", "relpath": "0.txt"}}, {{"md5": "{files[1]}", "relpath": "1.txt"}}]'
    names = [*files, md5(listing.encode()).hexdigest() + ".dir"]
    return sum((toy.root / ".dvc/cache/files/md5" / name[:2] / name[2:]).exists() for name in names)


def delete_run(toy, run_id):
    from mlflow.tracking import MlflowClient

    MlflowClient(STORE.format(root=toy.root)).delete_run(run_id)


def delete_newest_run(toy):
    delete_run(toy, toy.ended_runs(len(toy.runs()))[-1].info.run_id)


def remove_objects(toy):
    garbage = unused_objects(toy.root, live_words(toy.root), young=0)
    garbage.remove()
    return garbage


@pytest.mark.slow
def test_objects_stay_while_anything_refers_to_them(toy):
    """An older commit, the workspace, an experiment, a live run; what has none of these goes, and nothing else."""
    make(toy, 31)
    commit(toy)
    delete_newest_run(toy)
    older = toy.run("git", "rev-parse", "HEAD").stdout.strip()
    make(toy, 32)
    commit(toy)
    delete_newest_run(toy)
    done = toy.run("dvc", "exp", "run", "-q", "-n", "kept", "-S", "train.seed=33", "write@b")
    assert done.returncode == 0, done.stderr
    delete_newest_run(toy)
    restore(toy)
    make(toy, 34)
    restore(toy)
    make(toy, 35)
    delete_newest_run(toy)
    restore(toy)
    make(toy, 36)  # not committed
    delete_newest_run(toy)
    assert [cached(toy, seed) for seed in range(31, 37)] == [3] * 6

    garbage = remove_objects(toy)
    assert [cached(toy, seed) for seed in range(31, 37)] == [3, 3, 3, 3, 0, 3]
    assert garbage.text.startswith("3 of ")
    assert garbage.size > 100
    assert remove_objects(toy).text.startswith("0 of ")

    kept = toy.run("git", "for-each-ref", "--format=%(objectname)", "refs/exps/**/kept").stdout.strip()
    for place, seed in ((older, 31), ("HEAD", 32), (kept, 33)):
        shutil.rmtree(toy.root / "out")
        assert toy.run("git", "checkout", "-q", "-f", place, "--", "dvc.lock", "params.yaml").returncode == 0
        assert toy.run("dvc", "checkout", "-q", "write@b").returncode == 0
        assert (toy.root / "out" / "b" / "1.txt").read_text() == f"{seed} 1\n"
    toy.run("git", "checkout", "-q", "-f", "HEAD", "--", ".")
    made = toy.made()
    make(toy, 34)  # DVC has the run's outputs still
    assert toy.made() == made
    shutil.rmtree(toy.root / ".work")  # with the finished work, from which a stage takes its outputs too
    make(toy, 35)
    assert len(toy.made()) == len(made) + 2
    assert cached(toy, 35) == 3


@pytest.mark.slow
def test_cells_of_sweeps_and_their_workspaces_refer_too(toy):
    """An experiment that was made without DVC, and a workspace before it is one."""
    folder = toy.root / ".work" / "cells" / "sweep-0123"
    base = experiments.head(toy.root)
    for seed, saves in ((41, True), (42, False)):
        add_workspace(toy.root, base, folder)
        cell = type(toy)(folder)
        (folder / "data").mkdir()
        shutil.copy(toy.root / "data" / "params-checked.txt", folder / "data")
        cell.env["MLFLOW_TRACKING_URI"] = STORE.format(root=toy.root)
        make(cell, seed)
        delete_newest_run(toy)
        if saves:
            experiments.save(folder, base, "sweep-0123", "digest", [])
    assert [cached(toy, seed) for seed in (41, 42)] == [3, 3]
    remove_objects(toy)
    assert [cached(toy, seed) for seed in (41, 42)] == [3, 3]
    left_workspaces(toy.root, 30).remove()
    assert not folder.exists()
    remove_objects(toy)
    assert [cached(toy, seed) for seed in (41, 42)] == [3, 0]


def test_hashes_of_all_branches_of_a_history_are_found(toy):
    """Also of one that a merge has overruled, of the stash, of the index and of other worktrees."""
    kinds = ("branch", "earlier", "overruled", "stash", "worktree", "staged", "workspace", "data")
    hashes = {kind: md5(kind.encode()).hexdigest() for kind in kinds}
    lock = toy.root / "dvc.lock"
    text = lock.read_text()

    def git(*arguments, cwd=toy.root):
        done = toy.run(*GIT, "-C", str(cwd), *arguments)
        assert done.returncode == 0, done.stderr

    def write(kind, file=lock):
        file.write_text(f"{text}# md5: {hashes[kind]}\n")

    git("checkout", "-qb", "side")
    for kind in ("earlier", "overruled"):
        write(kind)
        git("commit", "-qam", kind)
    git("checkout", "-q", "-")
    git("merge", "-q", "--no-ff", "-s", "ours", "side")
    git("branch", "-qD", "side")
    git("checkout", "-qb", "other")
    write("branch")
    git("commit", "-qam", "other")
    git("checkout", "-q", "-")
    git("worktree", "add", "-q", "--detach", "../elsewhere")
    write("worktree", toy.root.parent / "elsewhere" / "dvc.lock")
    git("commit", "-qam", "there", cwd=toy.root.parent / "elsewhere")
    write("stash")
    git("stash", "-q")
    write("staged")
    git("add", "dvc.lock")
    write("workspace")
    (toy.root / "stages" / "data.dvc").write_text(f"outs:\n- md5: {hashes['data']}.dir\n")
    found = recorded_hashes(toy.root)
    assert [kind for kind in kinds if hashes[kind] not in {name.removesuffix(".dir") for name in found}] == []
    assert f"{hashes['data']}.dir" in found


def test_nothing_goes_where_git_has_lost_one_of_its_records(toy):
    """git reads past it, finds hashes in the others, and ends as if all were well."""
    (toy.root / "stages" / "data.dvc").write_text(f"outs:\n- md5: {'0' * 32}\n")
    toy.run("git", "add", "-A")
    toy.run(*GIT, "commit", "-qm", "one")
    assert "0" * 32 in recorded_hashes(toy.root)
    lost = toy.run("git", "rev-parse", "HEAD:stages/data.dvc").stdout.strip()
    (toy.root / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    with pytest.raises(StageError, match=r"so nothing is removed \(error: .*unable to read"):
        recorded_hashes(toy.root)


def test_cache_that_others_may_share_is_left_alone(toy, tmp_path):
    toy.configure("cache.dir", str(tmp_path / "shared"), "config.local")
    (tmp_path / "shared" / "files" / "md5" / "00").mkdir(parents=True)
    (tmp_path / "shared" / "files" / "md5" / "00" / "11").touch()
    garbage = remove_objects(toy)
    assert garbage.text.startswith("left alone: ")
    assert (tmp_path / "shared" / "files" / "md5" / "00" / "11").exists()


def begun(toy, name, **tags):
    """An MLflow run with an artifact."""
    run = RunLog(
        {
            "uri": STORE.format(root=toy.root),
            "root": str(toy.root),
            "experiment": "taca",
            "name": name,
            "parent": None,
            "pid": DEAD,
            "pid_started": "1.0",
            "start_ms": 1000,
            "params": {},
            "tags": tags,
            "inputs": [],
            "pipeline_outs": [],
        }
    )
    (toy.root / "file.txt").write_text("content")
    run.take_artifact(str(toy.root / "file.txt"), "")
    return run


@pytest.mark.long
def test_only_deleted_runs_go_and_not_those_that_live_ones_name(toy, gc):
    """With their artifacts. Failed runs are shown and stay."""
    deleted, parent = begun(toy, "deleted"), begun(toy, "parent")
    failed = begun(toy, "failed", **{"mlflow.parentRunId": parent.run_id})
    failed.end("FAILED", "")
    deleted.end("FINISHED", "")
    for run in (deleted, parent):
        delete_run(toy, run.run_id)
    status, shown = gc()
    assert status == 0
    assert f"1 deleted runs\n{'':<23}{deleted.run_id}  deleted  FINISHED\n" in shown
    assert "1 runs that failed more than 30 days ago are kept until you delete them in MLflow\n" in shown
    assert f"{failed.run_id}  failed  FAILED\n" in shown
    assert "`make gc REMOVE=1` removes it." in shown
    artifacts = toy.root / "mlartifacts"
    assert len(list(artifacts.rglob("file.txt"))) == 3

    assert gc("--remove")[0] == 0
    assert deleted_runs(toy.root, frozenset()).items == (f"{parent.run_id}  parent  RUNNING",)
    assert old_failures(toy.root, 30).items == (f"{failed.run_id}  failed  FAILED",)
    assert sorted(path.parts[-3] for path in artifacts.rglob("file.txt")) == sorted([parent.run_id, failed.run_id])
    assert old_failures(toy.root, 365 * 100).items == ()


def test_runs_of_a_deleted_experiment_stay_while_a_live_run_names_one(toy):
    """`mlflow gc` takes a deleted experiment as a whole."""
    from mlflow.tracking import MlflowClient

    inside = begun(toy, "inside")
    client = MlflowClient(STORE.format(root=toy.root))
    live = client.create_run(client.create_experiment("other"))
    client.delete_experiment(inside.experiment_id)
    assert deleted_runs(toy.root, live_words(toy.root)).text == "1 deleted runs"
    client.set_tag(live.info.run_id, "rebuild.of", inside.run_id)
    garbage = deleted_runs(toy.root, live_words(toy.root))
    assert "left alone: live runs name" in garbage.text
    garbage.remove()
    assert client.get_run(inside.run_id).info.run_id == inside.run_id


def test_fresh_objects_wait_an_hour(toy, gc):
    """Whoever made one may be about to refer to it."""
    object_ = toy.root / ".dvc" / "cache" / "files" / "md5" / "00" / "1122"
    object_.parent.mkdir(parents=True)
    object_.touch()
    status, shown = gc("--remove")
    assert status == 0
    assert "objects in the cache, and 1 of the last hour, which are left for now" in shown
    assert object_.exists()


def test_store_that_does_not_answer_is_one_sentence_and_nothing_goes(gc, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    said, shown = gc("--remove")
    assert said.startswith("MLflow at http://127.0.0.1:9 does not answer (")
    assert "\n" not in said
    assert shown == ""


def test_nothing_goes_while_a_flow_runs(toy, gc):
    with if_free(toy.root / ".work" / "locks" / "flow.lock"):
        said, shown = gc("--remove")
    assert said.startswith("Another flow runs in ")
    assert shown == ""


@pytest.mark.long
def test_nothing_goes_while_dvc_works(toy):
    """Another process's lock, which this command asks for as its user does."""
    from dvc.repo import Repo

    with Repo(str(toy.root)) as repo, repo.lock:
        done = toy.run(*COMMAND, "--remove")
    assert done.returncode == 1
    assert done.stderr == f"DVC works in {toy.root}: wait until it has ended.\n"


@pytest.mark.parametrize(("folder", "lock"), [("rebuild", "rebuild"), ("branches", "branch")])
def test_workspaces_of_killed_rebuilds_and_flows_go_and_those_of_living_ones_stay(toy, folder, lock):
    for name in ("dead", "living"):
        add_workspace(toy.root, "HEAD", toy.root / ".work" / folder / name)
    temporary = toy.root / ".dvc" / "tmp" / "exps" / "standalone" / "tmp01"
    temporary.mkdir(parents=True)
    with if_free(toy.root / ".work" / "locks" / f"{lock}-living.lock"):
        garbage = left_workspaces(toy.root, 30)
        garbage.remove()
    assert garbage.items == (f".work/{folder}/dead", ".dvc/tmp/exps/standalone/tmp01")
    assert garbage.size > 1000
    assert [path.name for path in (toy.root / ".work" / folder).iterdir()] == ["living"]
    assert not temporary.exists()
    assert "dead" not in toy.run("git", "worktree", "list").stdout


def test_work_goes_that_is_old_or_recorded_and_that_nobody_is_at(toy):
    """What a stage may go on from stays."""
    (name, (inputs, hashes)), *_ = read_recorded(toy.root).items()
    long_ago = time.time() - 40 * 24 * 3600
    folders = {
        f"{name}-{inputs}": time.time(),
        "write-a-0123456789ab": long_ago,
        "write-a-ab0123456789": time.time(),
        "write-b-0123456789ab": long_ago,
    }
    for folder, changed in folders.items():
        (toy.root / ".work" / folder).mkdir(parents=True)
        (toy.root / ".work" / folder / "half").write_text("half")
        os.utime(toy.root / ".work" / folder / "half", (changed, changed))
    (toy.root / ".work" / f"{name}-{inputs}" / "done.json").write_text(json.dumps(hashes))
    with if_free(toy.root / ".work" / "write-b-0123456789ab" / "lock"):
        assert set(left_workspaces(toy.root, 50).items) == {f".work/{name}-{inputs}"}
        garbage = left_workspaces(toy.root, 30)
        assert set(garbage.items) == {f".work/{name}-{inputs}", ".work/write-a-0123456789ab"}
        garbage.remove()
    assert sorted(path.name for path in (toy.root / ".work").glob("*-*")) == [
        "write-a-ab0123456789",
        "write-b-0123456789ab",
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dry_run_beside_a_flow_leaves_it_and_its_server_alone(toy):
    """It once ended the server of a running flow, which hung for minutes and was recorded as failed."""
    flow = toy.start(sys.executable, "-m", "flows.pipeline", TOY_SECONDS="3")
    try:
        toy.until(lambda: any("write@a" in line for line in toy.made()), seconds=200)
        shown = toy.run(*COMMAND)
        assert shown.returncode == 0, shown.stderr
        assert "not looked at: a flow runs here" in shown.stdout
        assert flow.poll() is None
        assert flow.wait(timeout=200) == 0
    finally:
        if flow.poll() is None:
            kill_group(flow)
    with sqlite3.connect(toy.root / ".prefect" / "prefect.db") as connection:
        assert connection.execute("select state_name from flow_run").fetchall() == [("Completed",)]
    assert {run.info.run_name: run.info.status for run in toy.runs()}["pipeline"] == "FINISHED"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_live_run_is_rebuilt_as_identical_after_all_garbage_is_gone(toy):
    """Also one whose inputs no commit names any more."""
    toy.repro()
    run = next(run for run in toy.runs() if run.info.run_name == "join")
    commit(toy)
    make(toy, 51)
    live = toy.runs()[-1]
    make(toy, 52)
    delete_newest_run(toy)
    assert toy.run("git", "checkout", "-q", ".").returncode == 0
    shutil.rmtree(toy.root / "out")
    remove_objects(toy)
    assert [cached(toy, seed) for seed in (3, 51, 52)] == [3, 3, 0]
    done = toy.run(*COMMAND, "--remove")
    assert done.returncode == 0, done.stderr
    for kept in (run, live):
        done = toy.run(sys.executable, "-m", "flows.rebuild", kept.info.run_id)
        assert ": identical\n" in done.stdout, done.stdout + done.stderr
