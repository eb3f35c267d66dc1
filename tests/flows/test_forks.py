"""DVC's commands run in forks of a process that has imported DVC, as if they had been started alone."""

import os
import signal
import threading
import time

import psutil
import pytest

from flows.running.forks import Forks, forks, run_dvc
from runtime.errors import StageError


def run(toy, *arguments, **more):
    options = {"cwd": toy.root, "env": toy.env, "stop": threading.Event()} | more
    return run_dvc(arguments, **options)


def test_output_and_status_are_those_of_the_command(toy):
    heard = []
    done = run(toy, "repro", "-s", "no-such-stage", on_line=heard.append)
    assert (done.returncode, done.stopped) == (255, False)
    assert any(line.startswith("ERROR: ") and "no-such-stage" in line for line in done.lines)
    assert heard == [line for line in done.lines if line.strip()]
    assert run(toy, "status", "check").returncode == 0


def test_each_has_its_own_folder_and_environment(toy, tmp_path):
    """The second would find neither a repository nor the variable of the first."""
    assert run(toy, "config", "core.autostage", "false", env=toy.env | {"MARK": "here"}).returncode == 0
    elsewhere = tmp_path / "empty"
    elsewhere.mkdir()
    done = run(toy, "status", cwd=elsewhere)
    assert done.returncode != 0
    assert "you are not inside of a DVC repository" in done.lines[0]


def test_a_killed_command_has_the_signals_status_and_others_go_on(toy):
    process = forks().start(["doctor"], cwd=toy.root, env=toy.env)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert run(toy, "status", "check").returncode == 0


def test_a_command_is_alone_in_its_group(toy):
    """So that what stops it stops neither the process that forks nor this one."""
    process = forks().start(["doctor"], cwd=toy.root, env=toy.env)
    assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
    assert process.wait() == 0
    process.stdout.close()


def test_commands_start_faster_than_alone(toy):
    run(toy, "status", "check")
    began = time.monotonic()
    for _ in range(4):
        assert run(toy, "status", "check").returncode == 0
    forked = time.monotonic() - began
    began = time.monotonic()
    for _ in range(4):
        toy.run("dvc", "status", "check")
    assert forked < time.monotonic() - began


def test_without_the_process_that_forks_the_remedy_is_said(toy):
    before = set(psutil.Process().children())
    mine = Forks()
    (server,) = set(psutil.Process().children()) - before
    server.kill()
    server.wait()
    with pytest.raises(StageError, match=r"DVC's commands cannot be started: .* `make doctor`"):
        mine.start(["status"], cwd=toy.root, env=toy.env)
