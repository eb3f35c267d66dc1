"""README's first screens, against the parameters and the results that are committed."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from runtime.execution.graph import stages_of
from runtime.params import read_yaml

ROOT = Path(__file__).parents[1]
CATEGORIES = ("color", "shape", "texture", "spatial")


def committed(path):
    found = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("this is no git checkout with a commit")
    return found.stdout


def test_the_means_of_the_table_are_what_the_committed_metrics_say():
    rows = {"baseline": "baseline", "training-free": "taca-free", "matched control": "control", "TACA": "taca-r64"}
    for beginning, arm in rows.items():
        row = re.search(rf"^\| {beginning}[^|]*\|(.*)\|$", committed("README.md"), re.MULTILINE)[1]
        metrics = json.loads(committed(f"results/metrics/{arm}.json"))
        assert [cell.strip() for cell in row.split("|")[:4]] == [
            f"{metrics[name]['mean']:.3f}"[1:] for name in CATEGORIES
        ]


def test_the_drawn_graph_has_the_stages_that_there_are():
    """Each once, with the number of its keys."""
    drawn = re.search(r"```\n(prompts .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    numbers = {name: int(number or 1) for name, number in re.findall(r"([a-z]+)(?: × (\d))?", drawn)}
    stages = stages_of(read_yaml(ROOT / "dvc.yaml"), read_yaml(ROOT / "experiments" / "defaults.yaml"))
    names = [name.partition("@")[0] for name in stages]
    assert numbers == {name: names.count(name) for name in names if name != "check"}
