"""Scores as DVC's tables show them: the committed ones in 80 columns, every arm's means and its paired differences."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.summaries import DECIMALS, GAINS, MEANS, write_summary
from runtime.params import read_yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pipeline(tmp_path):
    """A folder with the committed parameters, pipeline and tables, and nothing that the cache would have."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in (MEANS, GAINS):
        shutil.copytree(ROOT / name, tmp_path / name)
    dvc(tmp_path, "init", "--no-scm", "-q")
    return tmp_path


def dvc(folder, *arguments):
    env = os.environ | {"COLUMNS": "80", "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.long
def test_metrics_are_shown_in_80_columns(pipeline):
    arms = list(read_yaml(pipeline / "params.yaml")["arms"])
    lines = dvc(pipeline, "metrics", "show").rstrip().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["Path", "color", "shape", "spatial", "texture"]
    rows = {path: values for path, *values in map(str.split, lines[1:])}
    assert set(rows) == {f"{folder}/{arm}" for folder in (MEANS, GAINS) for arm in arms}
    assert rows.pop(f"{GAINS}/baseline") == ["-"] * 4
    assert {len(list(map(float, values))) for values in rows.values()} == {4}


def test_means_are_those_of_the_committed_metrics():
    for path in (ROOT / "results" / "metrics").iterdir():
        metrics = json.loads(path.read_text())
        means = {category: round(of["mean"], DECIMALS) for category, of in metrics.items()}
        assert read_yaml(ROOT / MEANS / path.stem) == means


def test_a_difference_that_is_none_is_plain_zero(tmp_path):
    write_summary(tmp_path / "arm", {"color": -0.0001, "3d_spatial": 1 / 3})
    assert (tmp_path / "arm").read_text() == "color: 0.0\n3d_spatial: 0.333\n"
