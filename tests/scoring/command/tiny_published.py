"""The published scorers at a reduced width: files in the weights folder's layout, and the sizes to load them by."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.blip_vqa import random_checkpoint, vocabulary_lines
from taca.scoring.blip.checkpoint import NAME
from taca.scoring.blip.config import BlipConfig
from taca.scoring.unidet import detector
from taca.scoring.unidet.model import UniDet
from taca.scoring.weights.registry import NEEDS
from tests.scoring.unidet.random_unidet import VARIANTS, randomised

TINY = BlipConfig(
    image_size=32,
    hidden_size=24,
    num_attention_heads=2,
    num_hidden_layers=1,
    intermediate_size=48,
    max_position_embeddings=40,
)
LABELS = ("Circle", "Square", "Star", "Heart", "Bench")
WORDS = ("a", "circle", "square", "star", "heart", "red", "blue", "green", "orange", "?")


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the real code load what `write_weights` wrote."""
    monkeypatch.setattr("taca.scoring.blip.checkpoint.BlipConfig", lambda: TINY)
    for name, variant in VARIANTS.items():
        monkeypatch.setitem(detector.VARIANTS, name, variant)
    for category, files in NEEDS.items():
        monkeypatch.setitem(NEEDS, category, tuple(replace(file, sha256="") for file in files))


def write_weights(folder: Path, clip: Path) -> None:
    """BLIP, both UniDets and CLIP; `clip` is the folder of a tiny open_clip model."""
    for name in ("blip", "unidet"):
        (folder / name).mkdir(parents=True)
    torch.manual_seed(0)
    torch.save({"model": random_checkpoint(TINY)}, folder / "blip" / f"{NAME}.pth")
    (folder / "blip" / "vocab.txt").write_text("\n".join(vocabulary_lines(WORDS)) + "\n")
    for name, variant in VARIANTS.items():
        model = randomised(UniDet(variant))
        torch.save({"model": dict(model.state_dict())}, folder / detector.FILES[name])
    categories = [{"id": index, "name": f"{word}__"} for index, word in enumerate(LABELS)]
    (folder / detector.LABEL_SPACE).write_text(json.dumps({"categories": categories}))
    shutil.copytree(clip, folder / "clip")
    config = json.loads((folder / "clip" / "open_clip_config.json").read_text())
    config["model_cfg"]["quick_gelu"] = True
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps(config))
