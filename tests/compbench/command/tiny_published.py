"""The published scorers at a reduced width: files in the weights folder's layout, and the sizes to load them by."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compbench.scorers.unidet import detector
from compbench.scorers.unidet.model import UniDet
from compbench.weights.registry import NEEDS
from tests.compbench.blip.tiny_blip import TINY, write_blip
from tests.compbench.unidet.random_unidet import VARIANTS, randomised

LABELS = ("Circle", "Square", "Star", "Heart", "Bench")
WORDS = ("a", "circle", "square", "star", "heart", "red", "blue", "green", "orange", "?")


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the real code load what `write_weights` wrote."""
    monkeypatch.setattr("compbench.scorers.blip.checkpoint.BlipConfig", lambda: TINY)
    for name, variant in VARIANTS.items():
        monkeypatch.setitem(detector.VARIANTS, name, variant)
    for category, files in NEEDS.items():
        monkeypatch.setitem(NEEDS, category, tuple(replace(file, sha256="") for file in files))


def write_weights(folder: Path, clip: Path) -> None:
    """BLIP, both UniDets and CLIP; `clip` is the folder of a tiny open_clip model."""
    torch.manual_seed(0)
    write_blip(folder, WORDS)
    (folder / "unidet").mkdir()
    for name, variant in VARIANTS.items():
        model = randomised(UniDet(variant))
        torch.save({"model": dict(model.state_dict())}, folder / detector.FILES[name])
    categories = [{"id": index, "name": f"{word}__"} for index, word in enumerate(LABELS)]
    (folder / detector.LABEL_SPACE).write_text(json.dumps({"categories": categories}))
    shutil.copytree(clip, folder / "clip")
    config = json.loads((folder / "clip" / "open_clip_config.json").read_text())
    config["model_cfg"]["quick_gelu"] = True
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps(config))
