"""Commands end with all that they started; places and GPUs are lent to one at a time."""

import subprocess
import sys
import threading
import time

import psutil
import pytest

from flows.running.leases import Leases, gpus
from flows.running.process import end_noted, follow

# Starts a child that outlives a polite request, and both write their numbers down.
STUBBORN = """
import os, signal, subprocess, sys, time
if sys.argv[1] == "parent":
    subprocess.Popen([sys.executable, __file__, "child"])
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1] + ".pid", "w").write(str(os.getpid()))
time.sleep(60)
"""


def run(command, *, cwd, stop, **options):
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    return follow(process, stop=stop, **options)


def pid_in(path) -> int:
    while not (path.exists() and path.read_text()):
        time.sleep(0.02)
    return int(path.read_text())


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_output_comes_line_by_line_and_the_status_is_the_commands(tmp_path):
    lines = []
    script = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"
    stop = threading.Event()
    finished = run([sys.executable, "-u", "-c", script], cwd=tmp_path, stop=stop, on_line=lines.append)
    assert (finished.returncode, finished.stopped) == (3, False)
    assert lines == ["one", "two"]
    assert finished.lines == ("one", "two")


def test_a_stop_ends_the_whole_group(tmp_path, monkeypatch):
    """Also a grandchild that ignores SIGTERM."""
    monkeypatch.setattr("flows.running.process.GRACE", 1.0)
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    stop, note = threading.Event(), tmp_path / "note.txt"
    command, results = [sys.executable, "stubborn.py", "parent"], []
    thread = threading.Thread(target=lambda: results.append(run(command, cwd=tmp_path, stop=stop, note=note)))
    thread.start()
    pids = [pid_in(tmp_path / f"{name}.pid") for name in ("parent", "child")]
    assert note.exists()
    stop.set()
    thread.join(timeout=20)
    assert results[0].stopped
    assert not any(lives(pid) for pid in pids)
    assert not note.exists()


def test_what_a_killed_flow_left_is_ended_by_its_note(tmp_path, monkeypatch):
    """Its leader gone, its child alive."""
    monkeypatch.setattr("flows.running.process.GRACE", 1.0)
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    parent = psutil.Popen([sys.executable, "stubborn.py", "parent"], cwd=tmp_path, start_new_session=True)
    note = tmp_path / "note.txt"
    note.write_text(f"{parent.pid} {parent.create_time()}")
    child = pid_in(tmp_path / "child.pid")
    parent.kill()
    parent.wait()
    assert end_noted(note)
    assert not lives(child)
    note.write_text(f"{parent.pid} 0")
    assert not end_noted(note)


def test_each_gpu_is_lent_to_one_at_a_time_and_nobody_else_sees_it():
    leases, stop, held = Leases(4, ["0", "1"]), threading.Event(), []
    with (
        leases.lease(1, True, stop) as one,
        leases.lease(1, True, stop) as other,
        leases.lease(1, False, stop) as none,
    ):
        assert {one["CUDA_VISIBLE_DEVICES"], other["CUDA_VISIBLE_DEVICES"]} == {"0", "1"}
        assert none == {"CUDA_VISIBLE_DEVICES": ""}
        third = threading.Thread(target=lambda: held.append(leases.lease(1, True, stop).__enter__()))
        third.start()
        time.sleep(0.3)
        assert held == []
    third.join(timeout=5)
    assert held[0]["CUDA_VISIBLE_DEVICES"] in ("0", "1")


def test_a_stage_takes_a_place_for_each_thread_and_all_when_it_wants_more():
    leases, stop, held = Leases(2, []), threading.Event(), []
    with leases.lease(8, False, stop) as wide:
        assert wide == {}
        narrow = threading.Thread(target=lambda: held.append(leases.lease(1, False, stop).__enter__()))
        narrow.start()
        time.sleep(0.3)
        assert held == []
    narrow.join(timeout=5)
    assert held == [{}]


def test_a_stop_ends_the_wait_for_a_place():
    leases, stop = Leases(1, []), threading.Event()
    with leases.lease(1, False, stop) as first:
        assert first == {}
        threading.Timer(0.2, stop.set).start()
        with leases.lease(1, True, stop) as second:
            assert second is None


@pytest.mark.parametrize(("visible", "expected"), [("0,2", ["0", "2"]), ("", []), ("-1", [])])
def test_gpus_are_those_that_the_environment_leaves(monkeypatch, visible, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == expected
