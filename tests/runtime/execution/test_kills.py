"""Whatever is killed when: the next `dvc repro` ends with the same bytes, redoes no finished piece, has one writer."""

import os
import signal
import time
from collections import Counter

import pytest

from tests.conftest import kill_group

PIECES = {f"write@a {piece}": 1 for piece in range(4)}


def pieces_made(toy):
    """How often each piece was made."""
    return Counter(line.partition(" ")[2] for line in toy.made())


def start_and_wait_for_two_pieces(toy):
    process = toy.start("dvc", "repro", "-q", "write@a", TOY_SECONDS="0.7")
    toy.until(lambda: len(toy.made()) >= 2)
    return process


def statuses(toy):
    return [run.info.status for run in toy.runs() if run.info.run_name == "write@a"]


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.long
def test_kill_of_dvc_alone_stops_the_stage(toy):
    """The stage notices, publishes nothing, is KILLED in MLflow, and goes on at the next repro."""
    dvc = start_and_wait_for_two_pieces(toy)
    stage_pid = int(toy.made()[0].split()[0])
    dvc.kill()
    dvc.wait()
    toy.until(lambda: not lives(stage_pid))
    assert not (toy.root / "out").exists()
    toy.repro("write@a")
    assert pieces_made(toy) == PIECES
    assert statuses(toy) == ["KILLED", "FINISHED"]
    assert "write@a stopped: the dvc that started it has died" in (toy.root / "started.log").read_text()


@pytest.mark.slow
def test_repro_at_once_after_kill_of_dvc_has_one_writer(toy):
    """A second stage process first stops the one that outlived its DVC."""
    dvc = start_and_wait_for_two_pieces(toy)
    dvc.kill()
    dvc.wait()
    toy.repro("write@a", TOY_SECONDS="0.7")
    assert pieces_made(toy) == PIECES
    writers = [line.split()[0] for line in toy.made()]
    assert writers == sorted(writers, key=writers.index)
    assert len(set(writers)) == 2
    assert statuses(toy) == ["KILLED", "FINISHED"]


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.3, 1.5, 2.5])
def test_kill_of_the_whole_group_is_survived(toy, pause):
    """At several moments, before the first piece and after the last too."""
    process = toy.start("dvc", "repro", "-q", "write@a", TOY_SECONDS="0.5")
    toy.until(lambda: list(toy.root.glob(".work/write-a-*")) != [])
    time.sleep(pause)
    kill_group(process)
    toy.repro()
    made = {name: count for name, count in pieces_made(toy).items() if name.startswith("write@a")}
    assert made == PIECES
    assert (toy.root / "out" / "joined.txt").read_text() == "3 0\n3 1\n3 2\n3 3\n3 0\n3 1\n"
    toy.until(lambda: "RUNNING" not in statuses(toy))
    assert statuses(toy)[-1] == "FINISHED"


@pytest.mark.slow
def test_interrupt_ends_dvc_and_stage(toy):
    """Ctrl-C goes to both; the stage's run is KILLED and its work kept."""
    process = start_and_wait_for_two_pieces(toy)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) != 0
    toy.ended_runs(1)
    assert statuses(toy) == ["KILLED"]
    toy.repro("write@a")
    assert pieces_made(toy) == PIECES


@pytest.mark.long
def test_kill_before_dvc_has_recorded_redoes_nothing(toy):
    """DVC deletes the published outputs and runs the stage again, which has them still."""
    assert toy.run("python", "-m", "stages.write", "a").returncode == 0
    toy.repro("write@a")
    assert pieces_made(toy) == PIECES
    assert (toy.root / "out" / "a" / "3.txt").read_text() == "3 3\n"
    again = toy.runs()[-1]
    assert again.data.tags["resumed_finished_work"] == "true"
    assert again.info.status == "FINISHED"


@pytest.mark.slow
def test_forced_rerun_does_the_work_again(toy):
    toy.repro("write@a")
    toy.repro("-f", "-s", "write@a")
    assert pieces_made(toy) == dict.fromkeys(PIECES, 2)


@pytest.mark.slow
def test_work_on_other_inputs_is_neither_taken_nor_dropped(toy):
    """A changed parameter starts afresh; changed back, its first work goes on."""
    process = start_and_wait_for_two_pieces(toy)
    kill_group(process)
    params = toy.root / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("seed: 3", "seed: 4"))
    toy.repro("write@a")
    assert (toy.root / "out" / "a" / "0.txt").read_text() == "4 0\n"
    made = len(toy.made())
    params.write_text(text)
    toy.repro("write@a")
    assert (toy.root / "out" / "a" / "0.txt").read_text() == "3 0\n"
    assert len(toy.made()) - made < 4
