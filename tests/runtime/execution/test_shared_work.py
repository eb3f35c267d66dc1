"""Workspaces that share one work folder, as the cells of a sweep do: each piece of work is done once, none is lost."""

import os
import shutil
import signal
from collections import Counter

import pytest

from runtime.execution.work import drop_recorded
from tests.conftest import Toy, kill_group


@pytest.fixture
def cells(toy, tmp_path):
    """Two copies of the repository that work in the `.work` of the first and record in its store."""
    toy.env |= {"TACA_WORK": str(toy.root / ".work"), "MLFLOW_TRACKING_URI": f"sqlite:///{toy.root}/mlflow.db"}
    copies = []
    for name in ("one", "two"):
        copies.append(Toy(shutil.copytree(toy.root, tmp_path / name)))
        copies[-1].env |= toy.env
    return copies


def start(cell, seconds="0.7"):
    return cell.start("dvc", "repro", "-q", "write@a", TOY_SECONDS=seconds)


def set_seed(cell, seed):
    params = cell.root / "params.yaml"
    params.write_text(params.read_text().replace("seed: 3", f"seed: {seed}"))


def pieces(*cells):
    """How often each piece was made in any of the cells."""
    return Counter(line.partition(" ")[2] for cell in cells for line in cell.made())


def outputs(cell):
    return "".join((cell.root / "out" / "a" / f"{piece}.txt").read_text() for piece in range(4))


@pytest.mark.slow
def test_other_inputs_are_other_work(toy, cells):
    """Side by side, neither stops the other nor drops what it has; nothing stays once both are recorded."""
    one, two = cells
    set_seed(two, 4)
    assert [process.wait() for process in [start(one), start(two)]] == [0, 0]
    assert outputs(one) == "3 0\n3 1\n3 2\n3 3\n"
    assert outputs(two) == "4 0\n4 1\n4 2\n4 3\n"
    for cell in cells:
        drop_recorded(cell.root, toy.root / ".work")
    assert list((toy.root / ".work").iterdir()) == []
    assert not (one.root / ".work").exists()


@pytest.mark.slow
def test_same_inputs_are_worked_on_once(toy, cells):
    """The second waits, and publishes what the first has finished."""
    one, two = cells
    first = start(one)
    toy.until(lambda: one.made() != [])
    second = start(two)
    assert [first.wait(), second.wait()] == [0, 0]
    assert pieces(one, two) == {f"write@a {piece}": 1 for piece in range(4)}
    assert outputs(one) == outputs(two)
    log = (two.root / "started.log").read_text()
    assert log.count("write@a runs on the same inputs elsewhere: waiting for what that makes.") == 1
    assert [run.data.tags["resumed_finished_work"] for run in toy.ended_runs(2)] == ["false", "true"]
    drop_recorded(one.root, toy.root / ".work")
    assert list((toy.root / ".work").iterdir()) == []


@pytest.mark.slow
def test_killed_work_goes_on_in_another_workspace(toy, cells):
    one, two = cells
    process = start(one)
    toy.until(lambda: len(one.made()) >= 2)
    kill_group(process)
    assert start(two, seconds="0").wait() == 0
    assert pieces(one, two) == {f"write@a {piece}": 1 for piece in range(4)}


@pytest.mark.slow
def test_orphan_in_another_workspace_is_stopped(toy, cells):
    """It has outlived its DVC, and is stopped even where it cannot see that itself."""
    one, two = cells
    dvc = start(one)
    toy.until(lambda: len(one.made()) >= 1)
    orphan = int(one.made()[0].split()[0])
    os.kill(orphan, signal.SIGSTOP)
    dvc.kill()
    dvc.wait()
    second = start(two, seconds="0")
    toy.until(lambda: "Another process still runs write@a" in (two.root / "started.log").read_text())
    os.kill(orphan, signal.SIGCONT)
    assert second.wait() == 0
    assert pieces(one, two) == {f"write@a {piece}": 1 for piece in range(4)}


@pytest.mark.long
def test_failure_is_noted_where_the_environment_says(toy, tmp_path):
    note = tmp_path / "notes" / "failure.json"
    done = toy.run("python", "-m", "stages.write", "a", TOY_FAULT="known", TACA_FAILURE_FILE=str(note))
    assert done.returncode == 1
    assert '"class": "other"' in note.read_text()
    assert not (toy.root / ".work" / "failures").exists()
    assert toy.run("python", "-m", "stages.write", "a", TACA_FAILURE_FILE=str(note)).returncode == 0
    assert not note.exists()
