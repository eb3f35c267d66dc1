"""What a kill leaves in DVC's file of locks is removed; what a living command holds stays."""

import json
import os
import subprocess
import sys

import pytest

from flows.running.housekeeping import DVC_LOCKS, drop_stale_locks, holders, read_locks

OLD = 1.0  # a time at which no process of today lived


@pytest.fixture
def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def entry(pid):
    return {"pid": pid, "cmd": "dvc repro"}


def test_entries_of_the_dead_go_and_those_of_the_living_stay(toy, gone):
    locks = {"write": {"a": entry(gone), "b": entry(os.getpid())}, "read": {"c": [entry(gone), entry(os.getpid())]}}
    (toy.root / DVC_LOCKS).write_text(json.dumps(locks))
    assert drop_stale_locks(toy.root)
    mine = entry(os.getpid())
    assert read_locks(toy.root) == {"write": {"b": mine}, "read": {"c": [mine]}}
    assert not drop_stale_locks(toy.root)


def test_a_number_that_another_process_has_got_since_holds_nothing(toy):
    """DVC would wait for it as long as it lives."""
    (toy.root / DVC_LOCKS).write_text(json.dumps({"write": {"out": entry(os.getpid())}}))
    os.utime(toy.root / DVC_LOCKS, (OLD, OLD))
    assert drop_stale_locks(toy.root)
    assert holders(read_locks(toy.root)) == []


@pytest.mark.long
def test_a_file_that_is_cut_off_becomes_a_whole_one(toy):
    """With it every command of DVC fails."""
    (toy.root / DVC_LOCKS).write_text('{"write": {"a"')
    assert toy.run("dvc", "repro", "-f", "check").returncode != 0
    assert drop_stale_locks(toy.root)
    assert toy.repro("-f", "check").returncode == 0


def test_where_nothing_is_stale_nothing_is_written(toy):
    assert not drop_stale_locks(toy.root)
