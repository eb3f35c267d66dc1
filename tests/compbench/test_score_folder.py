"""Scoring an arm's folder: what comes out, resuming, and what is refused."""

import math
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from compbench import run
from compbench.errors import CompbenchError
from compbench.run import summarize
from compbench.scorers.build import build_measures
from compbench.scorers.choice import Choice
from compbench.scorers.interface import Measure, read_prompts
from compbench.table import SCHEMA, Scores, scores_by_prompt, write_scores
from compbench.tables import BATCH, write_table
from lab.world.scorers import world_scorers


def score_folder(*arguments, **options):
    """All rows, which come one after the other."""
    return list(run.score_folder(*arguments, **options))


DETECTOR = {"attribute": "detector", "spatial": "detector", "clip": "base"}


def measured(categories, base, **others):
    """By the built-in world's scorers, which its caller brings."""
    choice = Choice(**{**DETECTOR, **others})
    return build_measures(categories, choice, world_scorers(base, choice.mode, choice.device))


@pytest.fixture
def measures(prompts, base_folder):
    return measured([prompt.category for prompt in prompts], base_folder)


def test_one_row_for_each_image_and_metric(arm_folder, prompts, measures, tmp_path):
    rows = score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=2)
    metrics = {category: [] for category in measures}
    for row in rows:
        metrics[row.category].append(row.metric)
    assert metrics["color"] == ["attribute"] * 3
    assert metrics["spatial"] == ["spatial"] * 3
    assert metrics["non_spatial"] == ["clip"] * 2
    assert metrics["complex"] == ["attribute", "spatial", "clip", "complex"] * 2
    assert all((arm_folder / row.path).is_file() for row in rows)
    assert [row.prompt_index for row in rows if row.category == "spatial"] == [7, 8, 9]


def test_complex_is_the_mean_of_its_three_parts(arm_folder, prompts, measures, tmp_path):
    rows = score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=50)
    scores = {row.metric: row.score for row in rows if row.prompt_index == prompts[-1].index}
    assert scores["complex"] == pytest.approx((scores["attribute"] + scores["spatial"] + scores["clip"]) / 3)
    assert scores["attribute"] > 0.9
    assert scores["spatial"] > 0.9


def test_summary_has_mean_and_interval_of_each_category(arm_folder, prompts, measures, tmp_path):
    summary = summarize(scores_by_prompt(score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=50)))
    assert list(summary) == ["color", "shape", "texture", "spatial", "non_spatial", "complex"]
    assert summary["color"]["n"] == 3
    assert summary["color"]["low"] <= summary["color"]["mean"] <= summary["color"]["high"]
    assert summary["color"]["mean"] > 0.9


def test_same_images_give_the_same_bytes(arm_folder, prompts, measures, tmp_path):
    for name in ("first", "second"):
        rows = score_folder(arm_folder, prompts, measures, tmp_path / name, batch_size=2)
        write_scores(tmp_path / f"{name}.parquet", rows)
    assert (tmp_path / "first.parquet").read_bytes() == (tmp_path / "second.parquet").read_bytes()
    assert Scores.read(tmp_path / "first.parquet").rows() == rows
    assert pq.read_schema(tmp_path / "first.parquet").names == SCHEMA.names
    assert pq.read_schema(tmp_path / "first.parquet").metadata is None


KILLED = """
import os, signal, sys
from pathlib import Path
from compbench.scorers.interface import Measure, read_prompts
from compbench.run import score_folder
from lab.world.scorers import WorldAttributeScorer, WorldDetector

class Killed(WorldAttributeScorer):
    calls = 0
    def score(self, images, prompts):
        self.calls += 1
        if self.calls == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(images, prompts)

folder, prompts, work = map(Path, sys.argv[1:])
prompts = read_prompts(prompts)
measure = Measure((Killed(WorldDetector()),))
list(score_folder(folder, prompts, {prompt.category: measure for prompt in prompts}, work, batch_size=2))
"""


@pytest.mark.long
def test_a_killed_run_resumes_and_ends_with_the_same_bytes(arm_folder, prompts, tmp_path):
    """SIGKILL in the third chunk: the two finished ones are taken over, not scored again."""
    table = [{**vars(prompt), "phrases": list(prompt.phrases), "objects": list(prompt.objects)} for prompt in prompts]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "prompts.parquet")
    assert read_prompts(tmp_path / "prompts.parquet") == prompts
    work = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, arm_folder, tmp_path / "prompts.parquet", work]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    finished = {path: path.stat().st_mtime_ns for path in work.glob("*.json")}
    assert len(finished) == 2

    measures = measured(["color"], tmp_path)
    measures = {prompt.category: measures["color"] for prompt in prompts}
    for name in ("killed", "whole"):
        rows = score_folder(arm_folder, prompts, measures, tmp_path / name, batch_size=2)
        write_scores(tmp_path / f"{name}.parquet", rows)
    assert (tmp_path / "killed.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


class Broken:
    """A scorer gone wrong on one prompt."""

    name = "attribute"

    def __init__(self, value: float):
        self.value = value

    def score(self, images, prompts):
        return [self.value if prompt.index == 1 else 0.5 for prompt in prompts]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_names_the_image(arm_folder, prompts, tmp_path, value):
    measures = {prompt.category: Measure((Broken(value),)) for prompt in prompts}
    with pytest.raises(
        CompbenchError, match=rf"gave {value} for the image .*green star and a orange heart_000001\.png"
    ):
        score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=50)
    assert not list((tmp_path / "work").glob("*.json"))


def first_image(folder):
    return folder / "color" / "samples" / "a red circle and a blue square_000000.png"


def test_a_truncated_image_is_named_before_anything_is_scored(arm_folder, prompts, measures, tmp_path):
    path = first_image(arm_folder)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CompbenchError, match=r"blue square_000000\.png is damaged or cut short.*generate its images"):
        score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=50)
    assert not (tmp_path / "work").exists()


def test_a_file_that_is_no_image_is_named(arm_folder, prompts, measures, tmp_path):
    first_image(arm_folder).write_text("no image")
    with pytest.raises(CompbenchError, match=r"blue square_000000\.png is damaged"):
        score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=50)


def test_a_missing_image_is_named(arm_folder, prompts, measures, tmp_path):
    first_image(arm_folder).unlink()
    with pytest.raises(CompbenchError, match=r"blue square_000000\.png does not exist"):
        score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=50)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("Thumbs.db", "is not named"), ("a circle.png", "is not named"), ("a circle_000017.png", "is not listed")],
)
def test_a_stray_file_is_named(arm_folder, prompts, measures, tmp_path, name, complaint):
    Image.new("RGB", (8, 8)).save(arm_folder / "color" / "samples" / name, format="PNG")
    with pytest.raises(CompbenchError, match=rf"{name} {complaint}.*move it out of the folder"):
        score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=50)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"prompt": "another prompt"}, "is not in the prompts table"),
        ({"category": "shape"}, "is not in the prompts table"),
        ({"prompt_index": 999}, "is not in the prompts table"),
        ({"path": "color/samples/000000.png"}, "is not named color/samples/a red circle"),
        ({"path": "shape/samples/a red circle and a blue square_000000.png"}, "is not named color/samples"),
    ],
)
def test_an_index_that_does_not_fit_the_prompts_is_refused(arm_folder, prompts, measures, tmp_path, changed, complaint):
    index = pq.read_table(arm_folder / "index.parquet").to_pylist()
    index[0] |= changed
    pq.write_table(pa.Table.from_pylist(index), arm_folder / "index.parquet")
    with pytest.raises(CompbenchError, match=complaint):
        score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=50)


def test_an_image_that_is_too_long_for_the_frame_is_named(arm_folder, prompts, measures, tmp_path):
    path = next(arm_folder.glob("color/samples/*.png"))
    Image.new("RGB", (1000, 1)).save(path)
    with pytest.raises(CompbenchError, match=rf"{path.name} has 1000 x 1 pixels, and vanishes"):
        score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=50)


def test_an_empty_index_is_refused(arm_folder, prompts, measures, tmp_path):
    table = pq.read_table(arm_folder / "index.parquet")
    pq.write_table(table.slice(0, 0), arm_folder / "index.parquet")
    with pytest.raises(CompbenchError, match="lists no images"):
        score_folder(arm_folder, prompts, measures, tmp_path / "work", batch_size=50)


def test_an_unknown_category_or_scorer_is_refused(tmp_path):
    with pytest.raises(CompbenchError, match="There is no metric for 'colour'; categories are color, shape"):
        measured(["colour"], tmp_path)
    with pytest.raises(
        CompbenchError, match=r"'nobody' is not a scorer of spatial: choose unidet or detector for spatial"
    ):
        measured(["spatial"], tmp_path, spatial="nobody")


def test_clip_is_loaded_only_for_categories_that_ask_for_it(tmp_path):
    assert set(measured(["color", "spatial"], tmp_path)) == {"color", "spatial"}
    with pytest.raises(CompbenchError, match="holds no open_clip model"):
        measured(["complex"], tmp_path)


def test_a_table_is_written_while_its_rows_come(tmp_path):
    """So that those of 30,000 images need not be in memory together."""
    path, seen = tmp_path / "table.parquet", []

    def rows():
        for number in range(3 * BATCH):
            if number % BATCH == 0:
                seen.append(path.stat().st_size if path.exists() else 0)
            yield {"number": number}

    write_table(path, rows(), pa.schema([("number", pa.int64())]))
    assert 0 == seen[0] < seen[1] < seen[2] < path.stat().st_size
    assert pq.read_table(path)["number"].to_pylist() == list(range(3 * BATCH))
