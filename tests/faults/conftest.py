"""The repositories that faults are made in."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.fault import Place
from tests.flows import sweep_toy
from tests.small_copy import Copy

STAGES = ["prompts", "sample", "caption", "encode", "train:none", "train:taca-r16"]
STAGES += [f"{stage}:{arm}" for arm in ("baseline", "taca-r16") for stage in ("generate", "score")]
STAGES += ["analyze", "report"]
TINY = {
    "prompts": {"per_category": 2},
    "sample": {"size": 12},
    "encode": {"batch_size": 4},
    "train": {"steps": 2, "batch_size": 2, "held_out": 4},
    "generate": {"num_inference_steps": 2, "batch_size": 12},
    "score": {"batch_size": 12},
    "report": {"baseline": "taca-r16", "bootstrap": 50, "grid_prompts": 2},
}


@pytest.fixture(scope="session")
def clone_template(tmp_path_factory, toy_template) -> Path:
    """The repository with the outputs of every stage, none of them recorded in the store that a copy starts with."""
    copy = Copy(tmp_path_factory.mktemp("clone") / "repository")
    copy.edit(TINY)
    params = copy.params()
    arms, adapters = params["arms"], params["adapters"]
    params["arms"] = {"baseline": arms["baseline"], "taca-r16": arms["taca-r16"]}
    params["adapters"] = {name: adapters[name] for name in ("none", "taca-r16")}
    copy.write({**params, "threads": 1})
    elsewhere = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.stages.several", *STAGES],
        cwd=copy.root,
        env=copy.environment() | elsewhere,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(copy.root / ".work")
    shutil.copy(toy_template / "mlflow.db", copy.root / "mlflow.db")
    return copy.root


@pytest.fixture
def places(request, tmp_path):
    """Makes a place of one of the kinds."""

    def make(kind: str) -> Place:
        template = request.getfixturevalue("clone_template" if kind == "clone" else "toy_template")
        place = Place(Path(shutil.copytree(template, tmp_path / "repository", symlinks=True)))
        if kind != "clone":
            shutil.copy(ROOT / "requirements.lock", place.root)  # the doctor reads it
        if kind == "clone":
            place.env["PYTHONPATH"] = str(place.root)
        return sweep_toy.make(place) if kind == "sweep" else place

    return make
