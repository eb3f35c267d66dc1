"""Three scored arms with known differences, their images and loss histories, as the stages leave them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compbench.manifest import build_manifest
from compbench.scorers.choice import Choice
from compbench.scorers.interface import SCORE_METRICS, Prompt
from compbench.scorers.three_in_one import PARTS
from compbench.table import ScoreRow, Scores, write_scores
from lab.report.analysed import Analysed, Figure
from lab.report.contrasts import ask
from lab.report.questions import Question
from lab.report.results import Results, compare, load_arm
from lab.report.words import QUALITY_NAMES
from lab.report.write import write_report

PROMPTS = 12
GAIN = {"baseline": 0.0, "taca-free": 0.0, "taca-r16": 0.1}
SETTINGS = {"gamma": 1.2, "threshold": 970.0, "guidance": 1.0, "adapter": "none", "rank": 0, "adapter scope": "early"}


QUESTIONS = [
    Question("training", {"taca-r16": 1.0, "baseline": -1.0}, primary=True),
    Question("gamma alone", {"taca-free": 1.0, "baseline": -1.0}, primary=False),
    Question("more training", {"taca-r64": 1.0, "taca-r16": -1.0}, primary=False),
]
CATEGORIES = ("color", "shape", "texture", "spatial", "non_spatial", "complex")
DOSE = {"gamma": "1.2", "threshold": "970.0", "steps": "3", "change": "0.345", "mass": "0.19", "scale": "1.09"}
BENCHMARK = (*CATEGORIES[:4], "3d_spatial", "numeracy", *CATEGORIES[4:])


def make_rows(arm: str, categories: tuple[str, ...] = CATEGORIES, quality: tuple[str, ...] = ()) -> list[ScoreRow]:
    """Scores that differ between prompts by much and between arms by the arm's gain and a little noise."""
    shared, own = np.random.default_rng(0), np.random.default_rng(len(arm))
    rows = []
    for i, category in enumerate(categories):
        metric = SCORE_METRICS[category]
        for index in range(PROMPTS):
            prompt = f"a thing and {category.replace('_', ' ')} number {index}"
            path = f"{category}/samples/{prompt}_{index:06d}.png"
            score = float(shared.uniform(0.3, 0.8) + GAIN[arm] + own.normal(0, 0.02))
            metrics = [*(PARTS if metric == "complex" else ()), metric, *quality]
            rows += [ScoreRow(index, prompt, category, 100 * i + index, path, name, score) for name in metrics]
    return rows


def world_manifest() -> dict:
    """Of the built-in world's scorers."""
    choice = Choice(attribute="detector", spatial="detector", clip="base")
    return build_manifest(
        choice, [Prompt(0, "a thing", "color", parser="world")], CATEGORIES, {"label": "not the official protocol"}
    )


@pytest.fixture(scope="session")
def experiment(tmp_path_factory) -> Path:
    """A folder with results/scores, results/thumbnails and models/adapters."""
    folder = tmp_path_factory.mktemp("experiment")
    scores = folder / "results" / "scores"
    scores.mkdir(parents=True)
    for number, arm in enumerate(GAIN):
        rows = make_rows(arm)
        write_scores(scores / f"{arm}.parquet", rows)
        (scores / f"{arm}.manifest.json").write_text(json.dumps(world_manifest()))
        for row in make_rows(arm, BENCHMARK):
            path = folder / "results" / "thumbnails" / arm / row.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                Image.new("RGB", (20, 20), (60 * number, 20 * row.index, 128)).save(path)
    history = folder / "models" / "adapters" / "taca-r16" / "history.csv"
    history.parent.mkdir(parents=True)
    lines = [f"{step},{1 / step},{1.1 / step if step % 5 == 0 else ''}" for step in range(1, 21)]
    history.write_text("\n".join(["step,loss,held_out_loss", *lines]) + "\n")
    return folder


@pytest.fixture(scope="session")
def results(experiment) -> Results:
    """The three arms, compared."""
    scores = experiment / "results" / "scores"
    return compare([load_arm(name, SETTINGS, scores / f"{name}.parquet") for name in GAIN], "baseline", 500, 0)


@pytest.fixture(scope="session")
def benchmark(results) -> Results:
    """The arms scored in the benchmark's eight categories and for image quality."""
    arms = [
        replace(arm, scores=Scores.of(make_rows(arm.name, BENCHMARK, tuple(QUALITY_NAMES)))) for arm in results.arms
    ]
    return compare(arms, "baseline", 200, 0)


@pytest.fixture(scope="session")
def analysed(experiment) -> Analysed:
    """One figure of stage `analyze`, and what one method does."""
    Image.new("RGB", (4, 4), "red").save(experiment / "steps.png")
    figures = (Figure(experiment / "steps.png", "What is predicted", "In every step."),)
    return Analysed(figures, "ab12cd34ef.dir", (DOSE,))


@pytest.fixture(scope="session")
def write(experiment, results, analysed, tmp_path_factory):
    def write(results=results, histories=("taca-r16",), grid=8):
        folder = tmp_path_factory.mktemp("written") / "report"
        write_report(
            folder,
            results,
            protocol={"steps": 30, "base": "<builtin>"},
            thumbnails={arm.name: experiment / "results" / "thumbnails" / arm.name for arm in results.arms},
            score_paths={arm.name: f"results/scores/{arm.name}.parquet" for arm in results.arms},
            histories={name: experiment / "models" / "adapters" / name / "history.csv" for name in histories},
            grid_prompts=grid,
            contrasts=ask(QUESTIONS, results, 200, 0),
            analysed=analysed,
            doses={"baseline": None, "taca-free": DOSE},
        )
        return folder

    return write


@pytest.fixture(scope="session")
def report(write) -> Path:
    """The report of the three arms."""
    return write()
