"""Stable Diffusion 3.5 and FLUX.1 through the stages, as random checkpoints in the published layouts."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from lab.errors import LabError
from lab.models.load import load_base, load_transformer
from lab.training.lora import WEIGHTS, add_lora, save_lora
from runtime.params import read_yaml
from tests.published import make_checkpoint

ROOT = Path(__file__).parents[2]
COPIED = ("compbench", "lab", "runtime", "stages", "taca", "dvc.yaml", "dvc.lock")
# An arm with an adapter that someone else trained comes first: it needs nothing of what trains one.
STAGES = ("base", "prompts", "fetch theirs", "generate theirs", "sample", "caption", "encode", "train small")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd35-medium", "flux-dev"])
def test_every_stage_that_computes_with_the_base(name, tmp_path, monkeypatch):
    checkpoint = make_checkpoint(name, tmp_path / "checkpoint")
    root = tmp_path / "repository"
    root.mkdir()
    for entry in COPIED:
        copy = shutil.copytree if (ROOT / entry).is_dir() else shutil.copy2
        copy(ROOT / entry, root / entry)
    with (root / "params.yaml").open("w") as file:
        YAML().dump(small_params(name, checkpoint, published_lora(checkpoint, tmp_path / "theirs")), file)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    for stage in ("check", *STAGES, "generate small"):
        run(root, *stage.split())

    pin = json.loads((root / "models/base" / name / "pin.json").read_text())
    loaded = {path for path in pin["files"] if path.endswith(".safetensors")}
    assert loaded
    assert not [path for path in loaded if "/" not in path], "a copy at the root, which no pipeline loads"
    images = {arm: sorted((root / "results/images" / arm).rglob("*.png")) for arm in ("small", "theirs")}
    assert [len(found) for found in images.values()] == [6, 6]  # one of each category
    assert images["small"][0].read_bytes() != images["theirs"][0].read_bytes()
    facts = json.loads((root / "models/adapters/theirs/adapter.json").read_text())
    assert (facts["rank"], facts["alpha"]) == ([2], [2.0])
    assert facts["difference"].startswith("Against adapters trained here, it leaves out ")

    weights = next((checkpoint / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    monkeypatch.chdir(root)
    with pytest.raises(LabError, match=weights.name):
        load_base(root / "models/base" / name, "bfloat16")


def published_lora(checkpoint: Path, folder: Path) -> Path:
    """A LoRA's file as others publish them."""
    transformer = load_transformer(checkpoint)
    with torch.no_grad():
        for parameter in add_lora(transformer, 2, 2, ["to_q"], seed=5):
            parameter.add_(0.5)
    save_lora(transformer, folder, {})
    return folder / WEIGHTS


def small_params(name: str, checkpoint: Path, lora: Path) -> dict:
    """The default experiment with this base, one adapter, one that is brought, and an arm for each."""
    params = read_yaml(ROOT / "params.yaml")
    params["base"] = {"name": name, "source": "folder", "folder": str(checkpoint), "dtype": "bfloat16"}
    params["prompts"]["per_category"] = 1
    params["sample"]["size"] = 12
    params["encode"] |= {"batch_size": 4, "max_sequence_length": 16, "dtype": "bfloat16", "resolution": 64}
    params["train"] |= {"steps": 2, "batch_size": 2, "held_out": 4, "precision": "bf16", "gradient_checkpointing": 1}
    params["generate"] |= {"num_inference_steps": 2, "batch_size": 2, "max_sequence_length": 16}
    params["generate"] |= {"height": 64, "width": 64, "other_precision": False}
    params["published_adapters"] = {"theirs": {"repo": None, "revision": None, "file": str(lora), "sha256": None}}
    params["adapters"] = {"small": {"rank": 4, "alpha": 4, "gamma": 1.2, "threshold": 970.0}}
    params["arms"] = {name: {**params["arms"]["taca-r16"], "adapter": name} for name in ("small", "theirs")}
    params["report"]["baseline"] = "small"
    params["score"] |= {"attribute": "blip-vqa", "spatial": "unidet", "clip": "openai", "weights": "weights"}
    return params


def run(root: Path, stage: str, *key: str) -> None:
    env = os.environ | {"PYTHONPATH": str(root), "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}
    command = [sys.executable, "-m", f"stages.{stage}", *key]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
