"""The programs of the stages `score` and `report` on a small drawn arm: what they leave, and what they refuse."""

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from compbench.prompts import SCHEMA
from compbench.table import Scores
from compbench.tables import read_table, write_table
from compbench.weights.registry import NEEDS
from lab.errors import LabError
from lab.generation.plan import SCHEMA as INDEX_SCHEMA
from lab.generation.plan import plan_images
from lab.params import validate
from lab.prompts import load_prompts
from lab.world.render import render
from lab.world.scene import sample_scene
from lab.world.scorers import world_scorers
from runtime.execution.graph import read_stages
from runtime.params import read_yaml
from runtime.tracking import client
from tests import recorders

ROOT = Path(__file__).parents[2]
SMALL = {"prompts": {"per_category": 3}, "report": {"bootstrap": 100, "grid_prompts": 2}}


class Repository:
    """The toy repository with the real pipeline, its code, and one arm's images; stages run in this process."""

    def __init__(self, toy, monkeypatch):
        self.toy, self.root, self._monkeypatch = toy, toy.root, monkeypatch
        shutil.copy(ROOT / "dvc.yaml", self.root / "dvc.yaml")
        self.set(**SMALL)
        stages = read_stages(self.root)
        for path in {*stages["score@baseline"].deps, *stages["report"].deps}:
            if path.startswith(("stages/", "compbench/", "lab/", "models/base/", "experiments/")):
                self._copy(path)
        (self.root / "models" / "adapters" / "none").mkdir(parents=True)
        (self.root / "results" / "analysis").mkdir(parents=True)
        (self.root / "results" / "analysis" / "figures.json").write_text("[]")
        (self.root / "results" / "analysis" / "doses.csv").touch()
        self._draw()

    def set(self, **sections):
        """Changes parameters; the baseline is the only arm."""
        params = read_yaml(ROOT / "experiments" / "defaults.yaml")
        params["arms"] = {"baseline": params["arms"]["baseline"]}
        for section, values in {**SMALL, **sections}.items():
            params[section] |= values
        with (self.root / "params.yaml").open("w") as file:
            YAML().dump(params, file)

    def run(self, *command):
        """Runs a stage's program as its command line does."""
        self._monkeypatch.chdir(self.root)
        self._monkeypatch.setattr(sys, "argv", list(command))
        runpy.run_path(str(self.root / command[0]), run_name="__main__")

    def _copy(self, path):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            # A file of it may be there: one stage depends on that alone.
            shutil.copytree(ROOT / path, self.root / path, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / path, self.root / path)

    def _draw(self):
        """Some scene for each prompt: what it shows plays no part here."""
        rng = np.random.default_rng(0)
        rows = load_prompts("world", None, "val", SMALL["prompts"]["per_category"], 7)
        planned = plan_images(rows, images_per_prompt=1, seed=42, limit=2)
        folder = self.root / "results" / "images" / "baseline"
        for image in planned:
            (folder / image.path).parent.mkdir(parents=True, exist_ok=True)
            render(sample_scene(rng)).save(folder / image.path)
        (self.root / "data").mkdir(exist_ok=True)
        write_table(self.root / "data" / "prompts.parquet", rows, SCHEMA)
        write_table(folder / "index.parquet", map(vars, planned), INDEX_SCHEMA)


@pytest.fixture
def repository(toy, monkeypatch):
    monkeypatch.setattr(client, "subprocess", SimpleNamespace(Popen=recorders.Forked, DEVNULL=None))
    for name in ("MLFLOW_TRACKING_URI", "TACA_PARENT_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    yield Repository(toy, monkeypatch)
    torch.set_num_threads(threads)


@pytest.fixture
def clip_weights(repository, monkeypatch):
    """A weights folder whose CLIP is the base's small one in OpenAI's kind of configuration; no hash is published."""
    folder = repository.root / "weights" / "clip"
    shutil.copytree(ROOT / "models" / "base" / "builtin" / "clip", folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["quick_gelu"] = True
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    monkeypatch.setitem(NEEDS, "non_spatial", tuple(replace(file, sha256="") for file in NEEDS["non_spatial"]))
    return folder


@pytest.mark.long
def test_score_and_report_say_what_the_scores_rest_on(repository, clip_weights):
    """By a published scorer beside the built-in ones, in a manifest, in MLflow, and in every table of the report."""
    repository.set(score={"clip": "openai", "weights": "weights", "batch_size": 2})
    repository.run("stages/score.py", "baseline")
    scores = repository.root / "results" / "scores"
    text = (scores / "baseline.manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["mode"] == "official"
    assert manifest["scorers"]["clip"] == {"scorer": "openai", "dtype": "float32"}
    assert manifest["parsers"] == [{"label": "world", "official": False}]
    assert set(manifest["weights"]) == {"clip/open_clip_config.json", "clip/open_clip_model.safetensors"}
    assert manifest["protocol"]["categories"]["color"]["images"] == 2, "only two of three prompts have images"
    assert (
        manifest["prompts"]["count"]
        == 6 * 2
        == len({row.path for row in Scores.read(scores / "baseline.parquet").rows()})
    )
    assert str(repository.root) not in text
    (run,) = repository.toy.ended_runs(1)
    assert run.data.params["score.mode"] == "official"
    inputs = {entry.dataset.name for entry in run.inputs.dataset_inputs}
    assert {f"score.weights/{path}" for path in manifest["weights"]} <= inputs

    repository.run("stages/report.py")
    sentence = (
        "Scored by the built-in detector (attributes, positions) and CLIP ViT-B/32 (similarity of image and text), in "
        "official mode; parser: world."
    )
    report = repository.root / "results" / "report"
    assert sentence in (report / "index.html").read_text()
    runs = {run.info.run_name: run for run in repository.toy.ended_runs(3)}
    result = runs["baseline"]
    assert result.data.tags["mlflow.parentRunId"] == runs["report"].info.run_id
    settings = {"method": "plain", "gamma": "1.0", "threshold": "801.65", "guidance": "1.0", "adapter": "none"}
    settings |= {"rank": "0", "base": "builtin", "protocol": "world, split val, images per prompt 3"}
    for compared in (result, run):
        assert settings.items() <= compared.data.params.items()
    numbers = result.data.metrics
    assert numbers.keys() >= {"gamma", "threshold", "color", "low/color", "high/color"}
    assert numbers["color"] == pytest.approx(run.data.metrics["color"], abs=1e-6)
    note = runs["report"].data.tags["mlflow.note.content"]
    assert f"](get-artifact?run_uuid={runs['report'].info.run_id}&path=outs/results/report/grid.png)" in note
    assert (report / "table1.md").read_text() in note
    assert sentence in (report / "table1.md").read_text()
    assert not (report / "table2.md").exists()


@pytest.mark.long
def test_a_report_with_another_seed_needs_no_image(repository):
    """At full size an arm is tens of gigabytes: `score` leaves thumbnails."""
    repository.run("stages/score.py", "baseline")
    shutil.rmtree(repository.root / "results" / "images")
    repository.run("stages/report.py")
    grid = (repository.root / "results" / "report" / "grid.png").read_bytes()
    repository.set(report={**SMALL["report"], "seed": 1})
    repository.run("stages/report.py")
    assert (repository.root / "results" / "report" / "grid.png").read_bytes() == grid


@pytest.mark.long
def test_default_scorers_give_their_numbers_with_no_weights(repository):
    """The manifest is beside the scores, not in them."""
    from compbench.run import score_folder
    from compbench.scorers.build import build_measures
    from compbench.scorers.choice import Choice
    from compbench.scorers.interface import read_prompts

    repository.run("stages/score.py", "baseline")
    choice = Choice(attribute="detector", spatial="detector", clip="base")
    brought = world_scorers(ROOT / "models" / "base" / "builtin", choice.mode, choice.device)
    prompts = read_prompts(repository.root / "data" / "prompts.parquet")
    measures = build_measures([prompt.category for prompt in prompts], choice, brought)
    folder = repository.root / "results" / "images" / "baseline"
    expected = list(score_folder(folder, prompts, measures, repository.root / "work", 50))
    assert Scores.read(repository.root / "results" / "scores" / "baseline.parquet").rows() == expected
    manifest = json.loads((repository.root / "results" / "scores" / "baseline.manifest.json").read_text())
    assert manifest["weights"] == manifest["never_score"] == {}


@pytest.mark.long
def test_missing_weights_stop_the_stage_with_the_command_that_fetches_them(repository, capsys):
    repository.set(score={"clip": "openai", "weights": "weights"})
    with pytest.raises(SystemExit) as caught:
        repository.run("stages/score.py", "baseline")
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("score@baseline: weights lacks clip/open_clip_config.json, ")
    assert "`python -m compbench.weights non_spatial" in told
    assert not (repository.root / "results" / "scores").exists()


@pytest.mark.long
def test_a_prompt_without_the_parse_that_its_scorer_needs_stops_the_stage_before_any_model(repository, capsys):
    table = repository.root / "data" / "prompts.parquet"
    rows = [
        row | ({"phrases": [], "parser": "rules"} if row["category"] == "color" else {}) for row in read_table(table)
    ]
    write_table(table, rows, SCHEMA)
    with pytest.raises(SystemExit):
        repository.run("stages/score.py", "baseline")
    assert "finds no noun phrase in 2 prompts, first in" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_is_refused_where_there_is_no_gpu():
    """By the stage: whoever writes the parameters may sit at another machine."""
    program = runpy.run_path(str(ROOT / "stages" / "score.py"))
    document = read_yaml(ROOT / "experiments" / "defaults.yaml")
    document["score"]["device"] = "cuda"
    with pytest.raises(LabError, match=r"Torch finds no GPU here: set `score\.device` to cpu"):
        program["chosen"](validate(document))
