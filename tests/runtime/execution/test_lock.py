"""One writer at a time: a living one is waited for, one that its DVC has left behind is stopped, politely at first."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from runtime.execution import lock
from runtime.execution.lock import if_free, sole_writer

ROOT = Path(__file__).parent.parent.parent.parent
HOLDER = """
import signal, sys, time
from pathlib import Path
from runtime.execution.lock import sole_writer
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with sole_writer(Path(sys.argv[1]), "write"):
    print("held", flush=True)
    time.sleep(60)
"""
DVC = "import subprocess, sys; subprocess.run(sys.argv[1:])"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "work" / "lock"


@pytest.fixture
def held(path):
    """Starts a process that holds the lock, under one that stands for its DVC, and ends both after the test."""
    started = []

    def start(manner):
        command = [sys.executable, "-c", DVC, sys.executable, "-c", HOLDER, str(path), manner]
        env = os.environ | {"DVC_STAGE": "write", "PYTHONPATH": str(ROOT)}
        dvc = subprocess.Popen(command, cwd=path.parent.parent, env=env, stdout=subprocess.PIPE, text=True)
        assert dvc.stdout.readline() == "held\n"
        (holder,) = psutil.Process(dvc.pid).children()
        started.extend((dvc, holder))
        return dvc, holder

    yield start
    for process in started:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
        process.wait()


def orphaned(processes):
    dvc, holder = processes
    dvc.kill()
    dvc.wait()
    return holder


@pytest.mark.long
def test_writer_whose_dvc_lives_is_waited_for(path, held, capsys):
    _, holder = held("polite")
    threading.Timer(2.0, holder.kill).start()
    started = time.monotonic()
    with sole_writer(path, "write"):
        assert time.monotonic() - started > 1.5
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "write runs on the same inputs elsewhere: waiting for what that makes."


@pytest.mark.long
def test_writer_that_has_outlived_its_dvc_is_asked_to_stop(path, held, capsys):
    holder = orphaned(held("polite"))
    with sole_writer(path, "write"):
        assert not holder.is_running() or holder.status() == psutil.STATUS_ZOMBIE
    assert capsys.readouterr().err == "Another process still runs write: stopping it first.\n"


@pytest.mark.long
def test_such_a_writer_that_does_not_stop_is_killed(path, held, monkeypatch):
    monkeypatch.setattr(lock, "GRACE", 0.5)
    holder = orphaned(held("stubborn"))
    with sole_writer(path, "write"):
        assert not holder.is_running() or holder.status() == psutil.STATUS_ZOMBIE


def test_writer_that_is_gone_is_not_mistaken_for_another_process(path):
    """A dead writer's number may belong to somebody else by now."""
    bystander = subprocess.Popen(["sleep", "30"])
    path.parent.mkdir()
    path.write_text(json.dumps([[bystander.pid, 1.0], [bystander.pid, 1.0]]))
    lock._signal_holder(path, 15)
    time.sleep(0.2)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


@pytest.mark.long
def test_lock_of_a_removed_folder_is_not_taken_for_the_lock(path):
    """Its holder removes the folder while others wait; one of them, and no two, holds the new one."""
    holding, most = [], []

    def hold():
        with sole_writer(path, "write"):
            holding.append(1)
            most.append(len(holding))
            time.sleep(0.01)
            holding.pop()
            gone = path.parent.rename(path.parent.with_name(f"gone-{threading.get_ident()}-{len(most)}"))
            shutil.rmtree(gone)

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert not path.parent.exists()


@pytest.mark.long
def test_if_free_does_not_disturb_a_writer(path, held):
    _, holder = held("polite")
    with if_free(path) as free:
        assert not free
    assert holder.is_running()
    with if_free(path.with_name("other.lock")) as free:
        assert free
