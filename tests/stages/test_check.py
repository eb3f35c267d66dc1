"""Plain `dvc repro` refuses faulty parameters before anything runs; valid ones never rerun what depends on `check`."""

import pytest


def edit(toy, old, new):
    params = toy.root / "params.yaml"
    params.write_text(params.read_text().replace(old, new, 1))


@pytest.mark.long
def test_faulty_parameters_stop_the_pipeline_at_once(toy):
    edit(toy, "gamma: 1.2", "gama: 1.2")
    done = toy.run("dvc", "repro")
    assert done.returncode != 0
    sentences = [line for line in done.stderr.splitlines() if line.startswith("check: params.yaml: `")]
    assert len(sentences) == 1
    assert "is not a known key (did you mean `gamma`?)" in sentences[0]
    assert "Traceback" not in done.stderr
    assert toy.made() == []


@pytest.mark.slow
def test_output_is_the_same_for_all_valid_parameters(toy):
    before = (toy.root / "data" / "params-checked.txt").read_bytes()
    edit(toy, "threads: 2", "threads: 1")
    toy.repro("check")
    assert (toy.root / "data" / "params-checked.txt").read_bytes() == before
    (run,) = toy.runs()
    assert run.data.params["threads"] == "1"
