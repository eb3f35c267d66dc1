"""`make doctor`: each fault of an installation is seen, and its remedy named."""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys

import psutil
import pytest
from local_servers import answering, prefect_server

from flows.checks import Finding
from flows.checks.checkout import check_killed, check_locks, check_runs, check_untracked
from flows.checks.machine import PIN, check_disk, check_gpus, check_packages, check_telemetry
from flows.checks.remote import check_mlflow, check_prefect, check_remote
from flows.doctor import CHECKS, line
from flows.running.repository import environment
from runtime.errors import StageError
from tests.conftest import ROOT, kill_group

DEAD = 2**22 + 1  # no process has this number


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """No store or server but those that a test names."""
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


def test_line_says_wrong_and_the_remedy():
    assert line(Finding("disk", "full", "free some")) == "wrong  disk             full -> free some"
    assert line(Finding("disk", "empty")) == "ok     disk             empty"


@pytest.mark.slow
def test_all_is_well_in_a_fresh_repository(toy):
    """A line for each check; a fault makes the status 1."""
    toy.configure("core.analytics", "false")
    toy.configure("core.check_update", "false")
    toy.configure("cache.type", "hardlink,reflink,copy")
    shutil.copy(ROOT / "requirements.lock", toy.root)
    done = toy.run(sys.executable, "-m", "flows.doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nok     ") == len(CHECKS) - 1
    assert done.stdout.endswith("All is well.\n")
    (toy.root / "stages" / "new.py").touch()
    (toy.root / "machine.yaml").write_text("workers: 0\n")
    (toy.root / ".git" / "info" / "exclude").write_text("machine.yaml\n")
    done = toy.run(sys.executable, "-m", "flows.doctor")
    assert done.returncode == 1
    assert "wrong  gpus             machine.yaml: `workers` is 0, but must be an integer of at least 1." in done.stdout
    assert "wrong  untracked files  stages/new.py: an experiment would not see them -> `git add` them" in done.stdout
    assert done.stdout.endswith(f"2 of {len(CHECKS)} are wrong.\n")


def lock(folder, *lines):
    (folder / "requirements.lock").write_text("".join(f"{entry} \\\n    --hash=sha256:00\n" for entry in lines))


def test_packages_of_another_version_are_named(tmp_path):
    lock(tmp_path, f"psutil=={psutil.__version__}", "fastapi==0.165.0", "no-such-package==1 ; sys_platform != 'win32'")
    found = check_packages(tmp_path)
    assert re.search(r": fastapi \S+ for 0\.165\.0, no-such-package missing for 1$", found.text)
    assert "`touch requirements.lock`" in found.remedy


def test_packages_for_other_systems_are_not_missed(tmp_path):
    lock(tmp_path, f"psutil=={psutil.__version__}", "pywin32==312 ; sys_platform == 'none'")
    assert check_packages(tmp_path) == Finding("packages", "the 1 of requirements.lock (FastAPI none)")


def test_the_lock_is_read_to_its_end():
    """Every line of the real lock file that names a package is understood."""
    text = (ROOT / "requirements.lock").read_text()
    assert len(PIN.findall(text)) == sum(
        "==" in entry and not entry.startswith((" ", "#")) for entry in text.split("\n")
    )


def test_little_disk_is_wrong(toy, monkeypatch):
    assert not check_disk(toy.root).remedy
    monkeypatch.setattr("flows.checks.machine.LEAST", 2**60)
    assert "free some space" in check_disk(toy.root).remedy


def test_gpus_that_torch_does_not_see_are_wrong(tmp_path, monkeypatch):
    import torch

    seen = torch.cuda.device_count()
    monkeypatch.setenv("TACA_GPUS", ",".join(map(str, range(seen))))
    assert not check_gpus(tmp_path).remedy
    monkeypatch.setenv("TACA_GPUS", ",".join(map(str, range(seen + 1))))
    found = check_gpus(tmp_path)
    assert found.text == f"{seen + 1} for stages, and torch sees {seen}"
    assert "CUDA_VISIBLE_DEVICES" in found.remedy


def test_telemetry_of_dvc_is_seen(toy):
    assert "`dvc config core.analytics false`" in check_telemetry(toy.root).remedy
    toy.configure("core.analytics", "false")
    toy.configure("core.check_update", "false")
    assert check_telemetry(toy.root) == Finding("telemetry", "off in DVC, MLflow and Prefect")


def test_telemetry_that_flows_would_leave_on_is_seen(toy, monkeypatch):
    env = environment(toy.root)
    del env["MLFLOW_DISABLE_TELEMETRY"]
    monkeypatch.setattr("flows.checks.machine.environment", lambda root: env)
    assert check_telemetry(toy.root).remedy.endswith("give flows MLFLOW_DISABLE_TELEMETRY=true")


def test_database_that_is_not_there_is_well_and_stays_so(tmp_path):
    assert check_mlflow(tmp_path).text.startswith("no database yet")
    assert check_runs(tmp_path).text == "none yet"
    assert list(tmp_path.iterdir()) == []


def test_database_of_another_version_is_seen(toy):
    assert not check_mlflow(toy.root).remedy
    with sqlite3.connect(toy.root / "mlflow.db") as connection:
        connection.execute("update alembic_version set version_num = '0123456789ab'")
    found = check_mlflow(toy.root)
    assert "has tables of version 0123456789ab" in found.text
    assert f"`mlflow db upgrade sqlite:///{toy.root}/mlflow.db`" in found.remedy


def test_file_that_is_no_database_is_seen(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    assert "is no database of MLflow" in check_mlflow(tmp_path).text
    assert check_runs(tmp_path).text == "cannot be read"


@pytest.mark.parametrize("uri", ["http://user:secret@127.0.0.1:9", "postgresql://user:secret@127.0.0.1:9/mlflow"])
def test_store_that_does_not_answer_is_seen_without_its_password(tmp_path, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = check_mlflow(tmp_path)
    assert "127.0.0.1:9" in found.text
    assert found.remedy
    assert "secret" not in line(found)


@pytest.mark.long
def test_prefect_server_that_does_not_answer_is_seen(tmp_path, monkeypatch):
    assert not check_prefect(tmp_path).remedy
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    found = check_prefect(tmp_path)
    assert found.text.startswith("http://127.0.0.1:9/api refuses (")
    assert "unset" in found.remedy


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wrong_password_of_prefect_is_seen(toy, monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "user:secret")
    program = "import sys; from flows.checks.remote import check_prefect; print(check_prefect(None))"
    with prefect_server(toy.root) as url:
        found = {
            password: toy.run(
                sys.executable, "-c", program, PREFECT_API_URL=url, PREFECT_API_AUTH_STRING=f"user:{password}"
            ).stdout
            for password in ("secret", "other")
        }
    assert f"text='{url} answers', remedy=''" in found["secret"]
    assert f"text=\"{url} refuses (Client error '401 Unauthorized'" in found["other"]
    assert "PREFECT_API_AUTH_STRING" in found["other"]


@pytest.mark.parametrize(("status", "words"), [(401, "refuses the password"), (404, "refuses (")])
def test_mlflow_server_that_refuses_is_seen(tmp_path, monkeypatch, status, words):
    with answering(status) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        found = check_mlflow(tmp_path)
    assert f"{uri} {words}" in found.text
    assert found.remedy


@pytest.mark.long
def test_folders_as_remotes(toy, tmp_path):
    """No remote, one for the first push, one with data, one that is no folder."""
    assert check_remote(toy.root) == Finding("DVC remote", "none; `make remote URL=...` sets one")
    shared = tmp_path / "shared" / "data"
    toy.run("dvc", "remote", "add", "--default", "storage", str(shared))
    assert check_remote(toy.root) == Finding("DVC remote", f"storage at {shared}, empty yet")
    toy.run("dvc", "push", "-q")
    assert check_remote(toy.root) == Finding("DVC remote", f"storage at {shared}")
    shutil.rmtree(tmp_path / "shared")
    (tmp_path / "shared").touch()
    found = check_remote(toy.root)
    assert found.text == f"storage does not answer ({tmp_path / 'shared'} is no folder that can be written)"
    assert found.remedy


@pytest.mark.slow
def test_buckets_as_remotes(toy, monkeypatch):
    """One that is empty, one that does not exist, a server that is not there."""
    import boto3

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "password")
    toy.run("dvc", "remote", "add", "--default", "storage", "s3://bucket/data")
    toy.run("dvc", "remote", "modify", "storage", "endpointurl", url)
    server = toy.start(sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    try:
        toy.until(lambda: "Running on" in (toy.root / "started.log").read_text())
        assert check_remote(toy.root).text == "storage does not answer (there is no bucket bucket)"
        boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket="bucket")
        assert check_remote(toy.root) == Finding("DVC remote", "storage at bucket/data, empty yet")
    finally:
        kill_group(server)
    found = check_remote(toy.root)
    assert found.text.startswith("storage does not answer (")
    assert found.remedy


def test_notes_of_dead_flows_and_groups_are_seen(toy):
    assert check_killed(toy.root).text == "none"
    notes = toy.root / ".work" / "groups"
    notes.mkdir(parents=True)
    (notes / "write-a.txt").write_text(f"{os.getpid()} {psutil.Process().create_time()}")
    assert not check_killed(toy.root).remedy
    (notes / "write-b.txt").write_text(f"{DEAD} 1.0")
    found = check_killed(toy.root)
    assert found.text == "left write-b"
    assert found.remedy


def test_dvc_locks_of_dead_processes_are_seen(toy):
    """Beside those of living ones, and a file that a kill has cut off."""
    lock_file = toy.root / ".dvc" / "tmp" / "rwlock"
    living = {"pid": os.getpid(), "cmd": "dvc repro"}
    lock_file.write_text(f'{{"write": {{}}, "read": {{"a": [{{"pid": {os.getpid()}, "cmd": "dvc"}}]}}}}')
    assert check_locks(toy.root) == Finding("DVC's locks", "1 held, by living processes")
    lock_file.write_text(str({"write": {"a": {"pid": DEAD, "cmd": "dvc"}}, "read": {"b": [living]}}).replace("'", '"'))
    found = check_locks(toy.root)
    assert found.text == f"held by dead processes: {DEAD}"
    assert found.remedy == "the next flow removes them"
    lock_file.write_text('{"write"')
    assert check_locks(toy.root).remedy == "the next flow mends it"


def begun(toy, pid, started):
    from runtime.tracking.store import RunLog

    description = {"uri": f"sqlite:///{toy.root}/mlflow.db", "root": str(toy.root), "experiment": "taca"}
    description |= {
        "name": "write@a",
        "parent": None,
        "pid": pid,
        "pid_started": str(started),
        "start_ms": 1000,
    }
    return RunLog({**description, "params": {}, "tags": {}, "inputs": [], "pipeline_outs": []})


def test_runs_without_a_process_are_seen(toy):
    assert check_runs(toy.root) == Finding("MLflow runs", "none that only seems to run")
    begun(toy, os.getpid(), psutil.Process().create_time())
    assert check_runs(toy.root) == Finding("MLflow runs", "1 running")
    dead = begun(toy, DEAD, 1.0)
    assert check_runs(toy.root).text == f"RUNNING without a process: write@a {dead.run_id}"


def test_untracked_programs_and_parameters_are_seen(toy):
    assert not check_untracked(toy.root).remedy
    for name in ("new.py", "new.yaml", "new.txt", "started.log"):
        (toy.root / name).touch()
    assert check_untracked(toy.root).text.startswith("new.py, new.yaml: ")
    subprocess.run(["git", "add", "-N", "new.py", "new.yaml"], cwd=toy.root, check=True)
    assert not check_untracked(toy.root).remedy


def test_folder_without_git_is_seen(tmp_path):
    with pytest.raises(StageError, match="see that this folder is a git repository with a commit"):
        check_untracked(tmp_path)
