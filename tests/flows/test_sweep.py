"""Sweeps on a small repository: real experiments, workspaces, runs and flows; the science is arithmetic."""

import copy
import functools
import hashlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import sweep_toy
import yaml
from local_servers import prefect_server
from mlflow.tracking import MlflowClient
from sweep_toy import log, sweep

from flows.results.made import Made, history
from flows.sweeps.progress import finished_cells
from tests.conftest import STORE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


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
    """The files that a sweep has left in `.work`, but for locks."""
    found = [str(path.relative_to(toy.root / ".work")) for path in (toy.root / ".work").rglob("*") if path.is_file()]
    return [path for path in found if not path.startswith("locks/")]


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
    files = {path.name for path in (toy.root / "results" / "sweeps" / "gamma").iterdir()}
    assert files == {"index.html", "cells.json", "cells.csv", "table.md", "means.svg", "differences.svg"}
    assert re.search(r"5 cells done, 0 running, 0 failed, 0 to go", done.stdout + done.stderr)
    shown = toy.run("dvc", "exp", "show", "--json", "--num", "1")
    names = [exp["name"] for revision in json.loads(shown.stdout) for exp in revision.get("experiments") or []]
    assert len(names) == 5
    assert all(re.fullmatch(r"gamma-[a-z0-9.-]+-[0-9a-f]{8}", name) for name in names)
    runs = {run.info.run_name: run for run in toy.ended_runs(len(toy.runs()))}
    assert runs["sweep gamma"].data.metrics["gamma-1.2/color"] > runs["sweep gamma"].data.metrics["baseline/color"]
    (cell,) = [run for name, run in runs.items() if re.fullmatch(r"gamma-1\.4-\w{8}", name)]
    assert cell.data.tags["mlflow.parentRunId"] == runs["sweep gamma"].info.run_id
    # What a page for docs/results goes by.
    made = Made(toy.root, finished_cells(toy.root / "results" / "sweeps" / "gamma"))
    images = made.images("gamma-1.4")
    prompts = [1000 * place + number for place in (0, 1) for number in range(20)]
    assert [prompt for _, prompt in images] == [prompt for prompt in prompts for _ in range(3)], "three images each"
    assert all(0 < float(path.read_text()) < 2 for path, _ in images)
    told = history(toy.root, "gamma")
    assert (told["commit"], told["run"]) == (sweep_toy.git(toy, "rev-parse", "HEAD"), runs["sweep gamma"].info.run_id)
    assert 0 < told["hours"] < 1
    assert cell.data.params["gamma"] == "1.4"
    below = [run for run in toy.runs() if run.data.tags.get("mlflow.parentRunId") == cell.info.run_id]
    assert below
    for run in [cell, *below]:
        told = [run.data.tags[f"dvc.exp_{name}"] for name in ("name", "baseline", "rev")]
        assert told[0].startswith("gamma-gamma-1.4-")
        assert toy.run("git", "rev-parse", f"{told[2]}^").stdout.strip() == told[1]
    sweeps = runs["sweep gamma"].info.run_id
    results = {run.info.run_name: run for run in toy.runs() if run.data.tags.get("result") == "sweep gamma"}
    assert sorted(results) == ["baseline", "gamma-1.1", "gamma-1.2", "gamma-1.4", "lora-only"], "adopted ones too"
    assert {run.data.tags["mlflow.parentRunId"] for run in results.values()} == {sweeps}
    found = results["gamma-1.2"].data
    assert (found.params["adapter_gamma"], found.metrics["gamma"]) == ("1.2", 1.2)
    assert found.metrics["difference_low/color"] == pytest.approx(0.22)
    assert "difference/color" not in results["baseline"].data.metrics
    models = {model.name for model in MlflowClient(STORE.format(root=toy.root)).search_registered_models()}
    assert models == {"taca", *(f"{name}-cell" for name in names if re.match("gamma-(lora|gamma-1.[14])", name))}
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
    assert log(toy)[len(before) :] == ["generate 1.4 made 120 took 0"]
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
    assert all("made 30 took 0" in line for line in log(toy) if line.startswith("generate") and " 1.2 " not in line)

    text = text.replace("baseline: {gamma: 1.2}", "baseline: {gamma: 1.0, rank: 0}").replace("samples: 4", "samples: 1")
    (toy.root / "experiments" / "sweeps" / "worst.yaml").write_text(text)
    sweep_toy.commit_all(toy)
    before = len(log(toy))
    assert sweep(toy, "worst").returncode == 0
    assert any(re.fullmatch(r"generate 1\.\d+ made 90 took 30", line) for line in log(toy)[before:])


def draws(toy, samples, parallel, **env):
    """What a search has drawn, in the order of its page, with what it scored."""
    text = sweep_toy.SWEEP.split("cells:")[0] + (
        "cells:\n  baseline: {gamma: 1.2}\nsearch:\n  method: optuna\n  seed: 1\n  objective: texture\n"
        f"  samples: {samples}\n  parallel: {parallel}\n  space:\n    arm.gamma: [1.0, 1.6]\n"
    )
    (toy.root / "experiments" / "sweeps" / "best.yaml").write_text(text)
    done = sweep(toy, "best", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = json.loads((toy.root / "results" / "sweeps" / "best" / "cells.json").read_text())
    return {cell["label"]: cell["scores_md5"] for cell in cells}


def test_a_search_draws_the_same_cells_however_many_run_at_once(toy):
    """It is told in rounds, which the sweep's file alone decides."""
    few = draws(toy, 12, 4, TACA_WORKERS="1")
    head = sweep_toy.git(toy, "rev-parse", "HEAD")
    for name in sweep_toy.experiments(toy, head):
        sweep_toy.git(toy, "update-ref", "-d", name)
    assert draws(toy, 12, 4, TACA_WORKERS="8") == few
    assert draws(toy, 12, 1, TACA_WORKERS="8") != few
    assert left(toy) == []


def test_cells_that_train_alike_do_so_once(toy):
    path = toy.root / "experiments" / "sweeps" / "gamma.yaml"
    cells = "  baseline: {gamma: 1.0, rank: 0}\n  one: {gamma: 1.1}\n  two: {gamma: 1.1, guidance: 5.0}\n"
    path.write_text(path.read_text().partition("  baseline")[0] + cells)
    done = sweep(toy, "gamma", TACA_WORKERS="8", TOY_SECONDS="3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in log(toy) if line.startswith("train 1.1")] == ["train 1.1 16"]
    assert len([line for line in log(toy) if line.startswith("generate 1.1")]) == 2
    assert left(toy) == []


def test_a_stopped_sweep_goes_on_at_the_last_checkpoints(toy):
    path = toy.root / "experiments" / "sweeps" / "gamma.yaml"
    path.write_text(path.read_text().partition("  lora-only")[0] + "  one: {gamma: 1.1}\n  two: {gamma: 1.3}\n")
    slow = {"TOY_STEPS": "10", "TOY_SECONDS": "20", "TACA_WORKERS": "2"}
    running = toy.start(sys.executable, "-m", "flows.sweep", "gamma", **slow)
    # Both train side by side.
    toy.until(lambda: {"step 5 of 1.1", "step 5 of 1.3"} <= set(log(toy)), 300)
    running.terminate()
    assert running.wait(60) != 0
    assert not (toy.root / ".work" / "cells").exists()
    done = sweep(toy, "gamma", **slow)
    assert done.returncode == 0, done.stdout + done.stderr
    for gamma in ("1.1", "1.3"):
        steps = [int(line.split()[1]) for line in log(toy) if line.startswith("step") and line.endswith(gamma)]
        assert steps == list(range(10))
    assert left(toy) == []


def test_experiments_hold_metrics_of_their_own_parameters_alone(toy):
    """Not those of other arms, nor those that HEAD has for an arm from other parameters."""
    toy.repro()
    sweep_toy.commit_all(toy)
    params = toy.root / "params.yaml"
    params.write_text(params.read_text().replace("limit: null", "limit: 5"))
    done = sweep(toy, "gamma")
    assert done.returncode == 0, done.stdout + done.stderr
    found = sweep_toy.experiments(toy, sweep_toy.git(toy, "rev-parse", "HEAD"))
    assert len(found) == 5
    for name in found:
        params = yaml.safe_load(sweep_toy.git(toy, "show", f"{name}:params.yaml"))
        stages = yaml.safe_load(sweep_toy.git(toy, "show", f"{name}:dvc.lock"))["stages"]
        for entry in stages.values():
            for key, value in entry.get("params", {}).get("params.yaml", {}).items():
                assert functools.reduce(lambda section, part: section[part], key.split("."), params) == value
        outs = {out["path"]: out["md5"] for entry in stages.values() for out in entry["outs"]}
        metrics = sweep_toy.git(toy, "ls-tree", "--name-only", name, "results/metrics/").splitlines()
        assert len(metrics) == 1
        for path in metrics:
            content = toy.run("git", "show", f"{name}:{path}").stdout
            assert hashlib.md5(content.encode(), usedforsecurity=False).hexdigest() == outs[path]


def test_the_checkout_is_as_it_was_whenever_a_cell_is_killed(toy):
    """Ten cells, whose DVC is killed at ten moments of its start."""
    cells = "".join(f"  g{number}: {{gamma: {1.1 + number / 100:.2f}}}\n" for number in range(10))
    path = toy.root / "experiments" / "sweeps" / "gamma.yaml"
    path.write_text(path.read_text().partition("  lora-only")[0] + cells)
    sweep_toy.commit_all(toy)
    edited = toy.root / "stages" / "train.py"
    edited.write_text(edited.read_text() + "# edited\n")
    before = (toy.root / ".git" / "HEAD").read_text(), edited.read_text(), (toy.root / "params.yaml").read_text()
    running = toy.start(sys.executable, "-m", "flows.sweep", "gamma", TOY_SECONDS="60", TACA_WORKERS="2")
    killed = set()

    def kill_next():
        for note in (toy.root / ".work" / "groups").glob("gamma-g*-train-cell.txt"):
            name = note.name
            if name not in killed:
                group = int(note.read_text().split()[0])
                time.sleep(0.3 * len(killed))
                os.killpg(group, signal.SIGKILL)
                killed.add(name)
        now = (toy.root / ".git" / "HEAD").read_text(), edited.read_text(), (toy.root / "params.yaml").read_text()
        assert now == before
        return len(killed) == 10

    toy.until(kill_next, 600)
    assert running.wait(300) == 1
    assert sweep_toy.git(toy, "stash", "list") == ""
    assert [line for line in log(toy) if line.startswith("train")] == ["train 1.0 0"]
    done = sweep(toy, "gamma", TACA_WORKERS="4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ((toy.root / ".git" / "HEAD").read_text(), edited.read_text()) == before[:2]
    assert left(toy) == []


def test_stages_of_cells_see_what_stages_of_the_pipeline_see(toy):
    where = {"TOY_ENV": str(toy.root / "env.log"), "TACA_GPU_HOUR_PRICE": "2.5", "TACA_GPUS": "7"}
    done = toy.run(sys.executable, "-m", "flows.pipeline", "train@taca", **where)
    assert done.returncode == 0, done.stdout + done.stderr
    path = toy.root / "experiments" / "sweeps" / "gamma.yaml"
    path.write_text(path.read_text().partition("  lora-only")[0] + "  one: {gamma: 1.1}\n")
    done = sweep(toy, "gamma", **where)
    assert done.returncode == 0, done.stdout + done.stderr
    ours, *_, cells = map(json.loads, (toy.root / "env.log").read_text().splitlines())
    for key in ("TACA_GPU_HOUR_PRICE", "CUDA_VISIBLE_DEVICES", "MLFLOW_TRACKING_URI"):
        assert cells[key] == ours[key]
    assert (ours["TACA_GPU_HOUR_PRICE"], ours["CUDA_VISIBLE_DEVICES"]) == ("2.5", "7")
    assert cells["TACA_WORK"] == str(toy.root / ".work")
    assert cells["TACA_PARENT_RUN_ID"] != ours["TACA_PARENT_RUN_ID"]


def test_cells_whose_shared_stage_fails_say_so_and_others_finish(toy):
    done = sweep(toy, "gamma", TOY_FAULTY_GAMMA="1.2")
    assert done.returncode == 1
    assert "gamma-1.2 failed: generate@taca, which it builds on, failed: the image is black" in done.stderr
    cells = json.loads((toy.root / "results" / "sweeps" / "gamma" / "cells.json").read_text())
    assert [cell["label"] for cell in cells] == ["baseline", "lora-only", "gamma-1.1", "gamma-1.4"]


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


NIGHT = """
from flows.sweeps.flow import sweep
state = sweep("gamma", branch="night", overrides={"generate.seed": 5}, return_state=True)
assert state.is_completed(), state.message
"""


def test_a_sweep_on_a_branch_leaves_the_edited_checkout_alone(toy):
    """Its cells are experiments on a commit of the branch and of the parameters, and the second time nothing runs."""
    sweep_toy.git(toy, "branch", "night")
    edited = toy.root / "stages" / "train.py"
    edited.write_text("half edited (\n")
    for time_ in (1, 2):
        done = toy.run(sys.executable, "-c", NIGHT)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len([line for line in log(toy) if line.startswith("generate")]) == 5, f"{time_}. time"
    assert edited.read_text() == "half edited (\n"
    assert left(toy) == []
    runs = toy.ended_runs(len(toy.runs()))
    client = MlflowClient(STORE.format(root=toy.root))
    for run in runs:
        if run.data.tags.get("git.dirty") == "true":  # a cell's own parameters, and nothing of the checkout
            diff = Path(client.download_artifacts(run.info.run_id, "git.diff")).read_text()
            assert re.findall("^diff --git (.*)$", diff, re.MULTILINE) == ["a/params.yaml b/params.yaml"]
    (first, second) = [run for run in runs if run.info.run_name == "sweep gamma"]
    assert (first.info.status, second.info.status) == ("FINISHED", "FINISHED")
    assert first.data.tags["git.dirty"] == second.data.tags["git.dirty"] == "false"
    assert first.data.tags["git.commit"] == second.data.tags["git.commit"]
    made = first.data.tags["git.commit"]
    assert sweep_toy.git(toy, "rev-parse", f"{made}^") == sweep_toy.git(toy, "rev-parse", "night")
    assert len(sweep_toy.experiments(toy, made)) == 5
    assert not (toy.root / "results" / "sweeps").exists()
    text = toy.run("git", "show", f"{sweep_toy.experiments(toy, made)[0]}:params.yaml").stdout
    assert yaml.safe_load(text)["generate"]["seed"] == 5


REPORT = '''\
"""Which scores there are."""

from pathlib import Path

from lab.params import load
from runtime.execution import stage

with stage("report", [], load) as run:
    scores = sorted(path.name for path in Path("results/scores").glob("*.parquet"))
    run.fresh("results/report").mkdir()
    (run.fresh("results/report") / "scored.txt").write_text(" ".join(scores))
'''
REPORT_STAGE = """\
  report:
    cmd: python -m stages.report
    deps: [stages/report.py, results/scores]
    params: [arms, report]
    outs: [results/report]
"""


def test_an_applied_cell_is_up_to_date_and_its_branch_reports_in_a_fresh_clone(toy, tmp_path):
    (toy.root / "stages" / "report.py").write_text(REPORT)
    with (toy.root / "dvc.yaml").open("a") as file:
        file.write(REPORT_STAGE)
    with (toy.root / ".gitignore").open("a") as file:
        file.write("/results/report\n")
    remote = tmp_path / "remote"
    toy.run("dvc", "remote", "add", "-d", "store", str(remote))
    toy.repro()
    sweep_toy.commit_all(toy)
    done = sweep(toy, "gamma")
    assert done.returncode == 0, done.stdout + done.stderr
    head = sweep_toy.git(toy, "rev-parse", "HEAD")
    found = {path.rpartition("/")[2]: path for path in sweep_toy.experiments(toy, head)}
    for label, scores in ("gamma-1.4", "cell.parquet"), ("gamma-1.2", "taca.parquet"):
        (name,) = (name for name in found if label in name)
        toy.run("git", "checkout", "-q", ".")
        applied = toy.run("dvc", "exp", "apply", name)
        assert applied.returncode == 0, applied.stderr
        assert (toy.root / "results/report/scored.txt").read_text() == scores
        before = log(toy)
        again = toy.run("dvc", "repro")
        assert again.returncode == 0, again.stderr
        assert "Running stage" not in again.stdout
        assert log(toy) == before
    assert toy.run("dvc", "push").returncode == 0
    assert toy.run("dvc", "exp", "branch", name, "cell").returncode == 0
    clone = tmp_path / "clone"
    toy.run("git", "clone", "-q", "-b", "cell", str(toy.root), str(clone))
    fresh = copy.copy(toy)
    fresh.root = clone
    pulled = fresh.run("dvc", "pull")
    assert pulled.returncode == 0, pulled.stderr
    reported = fresh.run("dvc", "repro")
    assert reported.returncode == 0, reported.stderr
    assert "Running stage" not in reported.stdout
    assert (clone / "results/report/scored.txt").read_text() == "taca.parquet"
