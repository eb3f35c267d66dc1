"""`make run HASH=...`: from an output's hash to the run that made it."""

import sys

import pytest
from ruamel.yaml import YAML

from runtime.tracking.find import main


@pytest.fixture
def refused(toy, monkeypatch):
    """What the command ends with."""

    def find(*arguments):
        monkeypatch.chdir(toy.root)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setattr(sys, "argv", ["find", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return str(ended.value)

    return find


def md5_of(toy, stage, path):
    lock = YAML(typ="safe").load(toy.root / "dvc.lock")["stages"][stage]
    return next(out["md5"] for out in lock["outs"] if out["path"] == path)


@pytest.mark.slow
def test_output_from_the_cache_leads_to_the_run_that_made_it(toy):
    """DVC restores the output of earlier parameters without running the stage."""
    toy.repro("write@a")
    first = toy.runs()[-1].info.run_id
    digest = md5_of(toy, "write@a", "out/a")
    params = toy.root / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("seed: 3", "seed: 4"))
    toy.repro("write@a")
    params.write_text(text)
    toy.repro("write@a")
    assert md5_of(toy, "write@a", "out/a") == digest
    assert len([run for run in toy.runs() if run.info.run_name == "write@a"]) == 2
    done = toy.run("python", "-m", "runtime.tracking.find", digest[:10])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"run    {first}\nstage  write@a, FINISHED, ")
    assert f"made   out/a ({digest})" in done.stdout
    assert "open   `make ui`, then http://127.0.0.1:5000/#/experiments/" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["abc"], ["no-hash-at-all"], ["abcdef", "abcdef"]])
def test_what_is_no_hash_is_refused(refused, arguments):
    assert refused(*arguments) == "Say `make run HASH=...` with the first 6 or more digits of an md5 in dvc.lock."


def test_unknown_hash_is_one_sentence(refused):
    said = refused("abcdef012345")
    assert said.startswith("No run in sqlite:////")
    assert "made an output with hash abcdef012345: take the hash from dvc.lock" in said
    assert "\n" not in said
