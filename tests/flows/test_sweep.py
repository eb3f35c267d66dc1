"""Sweeps on a small repository: real experiments, workspaces, runs and flows; the science is arithmetic."""

import json
import re

import pytest
import sweep_toy
from local_servers import prefect_server
from sweep_toy import log, sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("prefect")
    with prefect_server(root) as url:
        yield url


@pytest.fixture
def toy(toy, server):
    toy = sweep_toy.make(toy)
    toy.env["PREFECT_API_URL"] = server
    return toy


def left(toy):
    """The files that a sweep has left in `.work`."""
    return [str(path.relative_to(toy.root)) for path in (toy.root / ".work").rglob("*") if path.is_file()]


def test_cells_run_once_and_share_what_they_have_in_common(toy):
    done = sweep(toy, "gamma")
    assert done.returncode == 0, done.stdout + done.stderr
    # The baseline and gamma 1.2 are the pipeline's own arms; every other cell trains with its own gamma.
    assert sorted(line for line in log(toy) if line.startswith("train")) == [
        "train 1.0 0",
        "train 1.0 16",
        "train 1.1 16",
        "train 1.2 16",
        "train 1.4 16",
    ]
    assert len([line for line in log(toy) if line.startswith("generate")]) == 5
    cells = json.loads((toy.root / "results" / "sweeps" / "gamma" / "cells.json").read_text())
    assert [cell["label"] for cell in cells] == ["baseline", "lora-only", "gamma-1.1", "gamma-1.2", "gamma-1.4"]
    assert [cell["arm"] for cell in cells] == ["baseline", "cell", "cell", "taca", "cell"]
    page = (toy.root / "results" / "sweeps" / "gamma" / "index.html").read_text()
    # gamma 1.2, trained with it: 1 + .02 against .8
    assert re.search(r"gamma-1\.2</td>.*?\+0\.2200 \[\+0\.2200, \+0\.2200\]", page, re.DOTALL)
    assert "Scored by the built-in detector" in page
    assert re.search(r"5 cells done, 0 running, 0 failed, 0 to go", done.stdout + done.stderr)
    shown = toy.run("dvc", "exp", "show", "--json", "--num", "1")
    names = [exp["name"] for revision in json.loads(shown.stdout) for exp in revision.get("experiments") or []]
    assert len(names) == 5
    assert all(re.fullmatch(r"gamma-[a-z0-9.-]+-[0-9a-f]{8}", name) for name in names)
    runs = {run.info.run_name: run for run in toy.ended_runs(len(toy.runs()))}
    assert runs["sweep gamma"].data.metrics["gamma-1.2/color"] > runs["sweep gamma"].data.metrics["baseline/color"]
    (cell,) = [run for name, run in runs.items() if re.fullmatch(r"gamma-1\.4-\w{8}", name)]
    assert cell.data.tags["mlflow.parentRunId"] == runs["sweep gamma"].info.run_id
    assert cell.data.params["gamma"] == "1.4"
    assert left(toy) == []
    edited = {line.split()[-1] for line in toy.run("git", "status", "--porcelain").stdout.splitlines()}
    assert edited <= {"dvc.lock", "results/"}

    before = log(toy)
    again = sweep(toy, "gamma")
    assert again.returncode == 0
    assert log(toy) == before
    assert "gamma-1.4" in sweep(toy, "gamma", "--plan").stdout


def test_only_what_is_missing_failed_or_out_of_date_runs_again(toy):
    done = sweep(toy, "gamma", TOY_FAULTY_GAMMA="1.4")
    assert done.returncode == 1
    assert "gamma-1.4 failed: the image is black; lower `gamma`." in done.stderr
    assert "gamma-1.4: the image is black" in (toy.root / "results/sweeps/gamma/index.html").read_text()
    before = log(toy)
    assert sweep(toy, "gamma").returncode == 0
    assert log(toy)[len(before) :] == ["generate 1.4 made 40 took 0"]
    plan = sweep(toy, "gamma", "--plan").stdout
    assert len(re.findall("finished", plan)) == 5
    (toy.root / "stages" / "score.py").open("a").write("# changed\n")
    plan = sweep(toy, "gamma", "--plan").stdout
    assert re.search(r"gamma-1\.4 +gamma-1\.4-\w{8}  runs train@cell, generate@cell, score@cell", plan)


def test_a_search_drops_the_hopeless_early_and_takes_images_over(toy):
    text = sweep_toy.SWEEP.split("cells:")[0] + (
        "cells:\n  baseline: {gamma: 1.2}\nsearch:\n  method: optuna\n  samples: 4\n  seed: 1\n  objective: texture\n"
        "  rungs: [5, 20]\n  space:\n    arm.gamma: [1.0, 1.6]\n"
    )
    (toy.root / "experiments" / "sweeps" / "best.yaml").write_text(text)
    sweep_toy.commit_all(toy)
    done = sweep(toy, "best")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (toy.root / "results" / "sweeps" / "best" / "index.html").read_text()
    # The compared cell has the best gamma there is: every draw is worse, and is dropped after five prompts.
    assert len(re.findall(r"dropped after 5 prompts a category: texture -0\.\d+ \[-0\.\d+, -0\.\d+\]", page)) == 4
    assert all("made 10 took 0" in line for line in log(toy) if line.startswith("generate") and " 1.2 " not in line)

    text = text.replace("baseline: {gamma: 1.2}", "baseline: {gamma: 1.0, rank: 0}").replace("samples: 4", "samples: 1")
    (toy.root / "experiments" / "sweeps" / "worst.yaml").write_text(text)
    sweep_toy.commit_all(toy)
    before = len(log(toy))
    assert sweep(toy, "worst").returncode == 0
    assert any(re.fullmatch(r"generate 1\.\d+ made 30 took 10", line) for line in log(toy)[before:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("gamma: 1.4", "gama: 1.4"),
            r"Cell gamma-1.4: there is no parameter 'gama' in params.yaml \(did you mean `gamma`\?\)",
        ),
        (
            ("gamma: 1.4", "gamma: -1.0"),
            r"cell gamma-1.4: `adapters.cell.gamma` is -1.0, but must be a finite number above 0",
        ),
        (
            ("compare_with: baseline", "compare_with: base"),
            r"`compare_with` is 'base', but must be one of its cells: baseline, ",
        ),
        (("like: taca", "like: tacca"), "The sweep's `like` is 'tacca', but must be one of `arms`"),
        (("title: Gamma", "titel: Gamma"), r"experiments/sweeps/gamma.yaml, `title`: Field required"),
    ],
)
def test_faulty_sweeps_are_refused_before_any_cell_starts(toy, change, message):
    path = toy.root / "experiments" / "sweeps" / "gamma.yaml"
    path.write_text(path.read_text().replace(*change))
    done = sweep(toy, "gamma")
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert log(toy) == []


def test_unknown_sweeps_and_untracked_code_are_refused(toy):
    assert sweep(toy, "gama").stderr.startswith("There is no sweep 'gama': take one of gamma, or write")
    (toy.root / "dvc.yaml").write_text(
        (toy.root / "dvc.yaml").read_text().replace("[stages/score.py,", "[stages/score.py, stages/helper.py,")
    )
    (toy.root / "stages" / "helper.py").write_text("")
    assert "git does not know stages/helper.py" in sweep(toy, "gamma").stderr


def test_eight_cells_at_once_all_land(toy):
    cells = "".join(f"  g{number}: {{gamma: 1.{number}}}\n" for number in range(1, 9))
    path = toy.root / "experiments" / "sweeps" / "gamma.yaml"
    path.write_text(path.read_text().split("  lora-only")[0] + cells)
    sweep_toy.commit_all(toy)
    done = sweep(toy, "gamma", TACA_WORKERS="8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 cells done, 0 running, 0 failed, 0 to go" in done.stdout + done.stderr
