"""There is one writer per stage, and an older one is stopped, politely at first."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.execution import lock
from runtime.execution.lock import if_free, sole_writer

ROOT = Path(__file__).parent.parent.parent
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


@pytest.fixture
def held(tmp_path):
    """Starts a process that holds the lock, and ends it after the test."""
    started = []

    def start(manner):
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "stage.lock"), manner]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_older_writer_is_asked_to_stop(tmp_path, held, capsys):
    holder = held("polite")
    with sole_writer(tmp_path / "stage.lock", "write"):
        assert holder.wait(timeout=10) == -15
    assert capsys.readouterr().err == "Another process still runs write: stopping it first.\n"


def test_older_writer_that_does_not_stop_is_killed(tmp_path, held, monkeypatch):
    monkeypatch.setattr(lock, "GRACE", 0.5)
    holder = held("stubborn")
    with sole_writer(tmp_path / "stage.lock", "write"):
        assert holder.wait(timeout=10) == -9


def test_writer_that_is_gone_is_not_mistaken_for_another_process(tmp_path):
    """A dead writer's number may belong to somebody else by now."""
    bystander = subprocess.Popen(["sleep", "30"])
    (tmp_path / "stage.lock").write_text(f"{bystander.pid} 1.0")
    with (tmp_path / "stage.lock").open("a+") as file:
        lock._signal_holder(file, 15)
    time.sleep(0.2)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_if_free_does_not_disturb_a_writer(tmp_path, held):
    holder = held("polite")
    with if_free(tmp_path / "stage.lock") as free:
        assert not free
    assert holder.poll() is None
    with if_free(tmp_path / "other.lock") as free:
        assert free
