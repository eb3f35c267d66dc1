"""Commands end with all that they started; places and GPUs are lent to one at a time."""

import os
import sys
import threading
import time

import psutil
import pytest

from flows.running.leases import Leases
from flows.running.process import end_left, end_noted
from flows.running.process import run as run_process
from flows.running.repro import State
from flows.settings import Machine
from runtime.execution.graph import Stage

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


def run(command, **options):
    return run_process(command, env=os.environ, **options)


def stage(name="report", threads=1):
    return Stage(name, f"python -m stages.{name}", (), {"threads": threads}, ())


def held(leases, wanted, into):
    """A thread that takes a lease and keeps it."""
    thread = threading.Thread(target=lambda: into.append(leases.lease(wanted).__enter__()))
    thread.start()
    return thread


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


@pytest.mark.long
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


@pytest.mark.long
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


def gpu_of(place):
    return place["CUDA_VISIBLE_DEVICES"]


def test_each_gpu_is_lent_to_one_at_a_time_and_nobody_else_sees_it():
    """As many at once as there are GPUs, though their threads are more than the machine's places."""
    leases, third = Leases(Machine(workers=2, gpus=["0", "1"])), []
    train = stage("train@a", threads=2)
    with leases.lease(train) as one, leases.lease(train) as other, leases.lease(stage(threads=2)) as none:
        assert {gpu_of(one), gpu_of(other)} == {"0", "1"}
        assert gpu_of(none) == ""
        waiting = held(leases, train, third)
        time.sleep(0.3)
        assert third == []
    waiting.join(timeout=5)
    assert gpu_of(third[0]) in ("0", "1")


def test_a_stage_takes_a_place_for_each_thread_and_all_when_it_wants_more():
    leases, narrow = Leases(Machine(workers=2, gpus=[], gpu_hour_price=1.5)), []
    with leases.lease(stage("train@a", threads=8)) as wide:
        assert wide == {"TACA_GPU_HOUR_PRICE": "1.5"}
        waiting = held(leases, stage(), narrow)
        time.sleep(0.3)
        assert narrow == []
    waiting.join(timeout=5)
    assert narrow == [wide]


def test_with_the_defaults_two_heavy_stages_run_together():
    """Today's stages of two threads, on a machine of at least two cores."""
    leases = Leases(Machine(gpus=[]))
    with leases.lease(stage("train@a", threads=2)) as one, leases.lease(stage("train@b", threads=2)) as other:
        assert None not in (one, other)


def test_a_stop_ends_the_wait_for_a_place_and_nothing_runs_then(tmp_path):
    leases = Leases(Machine(workers=1, gpus=[]))
    with leases.lease(stage()):
        threading.Timer(0.2, leases.stop.set).start()
        began = time.monotonic()
        with leases.lease(stage()):
            assert time.monotonic() - began < 5
        outcome = leases.run(stage(), tmp_path, {}, print)
    assert outcome.state is State.STOPPED


def test_what_a_living_flow_runs_is_not_taken_for_what_a_killed_one_left(tmp_path):
    """Flows in workspaces of one repository leave their notes in one folder."""
    stop, note = threading.Event(), tmp_path / "note.txt"
    command, results = [sys.executable, "-c", "import time; time.sleep(60)"], []
    thread = threading.Thread(target=lambda: results.append(run(command, cwd=tmp_path, stop=stop, note=note)))
    thread.start()
    while not note.exists():
        time.sleep(0.02)
    assert not end_left(note)
    assert note.exists()
    group, started, *_ = note.read_text().split()
    assert lives(int(group))
    orphan = tmp_path / "orphan.txt"
    orphan.write_text(f"{group} {started} {os.getpid()} 1.0")  # the number of its flow is someone else's by now
    assert end_left(orphan)
    assert not lives(int(group))
    stop.set()
    thread.join(timeout=20)
    assert not end_left(note)  # which is gone
