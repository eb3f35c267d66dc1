"""Whole stages under DVC: outputs are whole or absent, and every execution is on record."""

import pytest
from ruamel.yaml import YAML


def lock_of(toy):
    return YAML(typ="safe").load(toy.root / "dvc.lock")["stages"]


@pytest.mark.long
def test_outputs_hashes_and_record_agree(toy):
    """What DVC records is what MLflow records; the work folder ends empty; a second repro runs nothing."""
    toy.repro()
    lock = lock_of(toy)
    runs = {run.info.run_name: run for run in toy.runs()}
    assert sorted(runs) == ["join", "write@a", "write@b"]
    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        for out in lock[name]["outs"]:
            assert run.data.tags[f"dvc.out.{out['path']}"] == out["md5"]
        for dep in lock[name]["deps"]:
            assert run.data.tags[f"dvc.dep.{dep['path']}"] == dep["md5"]
    assert list((toy.root / ".work").iterdir()) == []
    toy.repro()
    assert len(toy.runs()) == 3


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("known", "write@a: the loss is nan at step 1; lower `train.learning_rate`.\n"),
        (
            "disk",
            "write@a: the disk is full; free some space and run `dvc repro`, which goes on from the work so far.\n",
        ),
        (
            "forgets",
            "write@a: the program did not write its output metrics-a.json; correct it, or `outs` in dvc.yaml.\n",
        ),
    ],
)
def test_known_fault_is_one_sentence_and_leaves_no_output(toy, fault, sentence):
    """The run is FAILED with that sentence, and the finished pieces wait in the work folder."""
    done = toy.run("python", "-m", "stages.write", "a", TOY_FAULT=fault)
    assert (done.returncode, done.stderr) == (1, sentence)
    assert not (toy.root / "out").exists()
    assert not (toy.root / "metrics-a.json").exists()
    assert list(toy.root.glob(".work/write-a-*/outs/out/a/0.txt"))
    (run,) = toy.ended_runs(1)
    assert run.info.status == "FAILED"
    assert f"write@a: {run.data.tags['error']}\n" == sentence


@pytest.mark.slow
def test_defect_keeps_its_traceback(toy):
    """What nobody foresaw is shown in full, and stands in the run."""
    done = toy.run("python", "-m", "stages.write", "a", TOY_FAULT="unknown")
    assert done.returncode == 1
    assert "ZeroDivisionError: a defect" in done.stderr
    (run,) = toy.ended_runs(1)
    assert run.info.status == "FAILED"
    assert "ZeroDivisionError: a defect" in run.data.tags["error"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["write"], "run it as `python -m stages.write KEY` with KEY one of a, b"),
        (["write", "c"], "run it as `python -m stages.write KEY` with KEY one of a, b"),
        (["check", "a"], "run it as `python -m stages.check`"),
    ],
)
def test_wrong_key_is_refused_with_usage(toy, arguments, sentence):
    program, *keys = arguments
    done = toy.run("python", "-m", f"stages.{program}", *keys)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_answers_without_a_run(toy):
    done = toy.run("python", "-m", "stages.write", "--help")
    assert done.returncode == 0
    assert "KEY one of a, b" in done.stdout
    assert toy.runs() == []


@pytest.mark.long
def test_a_stage_of_several_processes_is_refused_before_it_takes_its_work_folder(toy):
    """A launcher would start it several times; each would do the whole of it."""
    done = toy.run("python", "-m", "stages.write", "a", WORLD_SIZE="2")
    assert done.returncode == 1
    assert done.stderr.startswith("write@a: it is one process on one device, but WORLD_SIZE says that there are 2: ")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in (toy.root / ".work").iterdir()] == ["failures"]
    assert toy.run("python", "-m", "stages.write", "a", WORLD_SIZE="1").returncode == 0
