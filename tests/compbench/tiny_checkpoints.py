"""The published checkpoints at a reduced width, with what the published files hold besides."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import Module

from benchmarks.blip_layout import random_checkpoint
from compbench.scorers.blip import checkpoint as blip
from compbench.scorers.depth import checkpoint as depth
from compbench.scorers.depth.backbone import Sizes
from compbench.scorers.depth.network import DptHybrid
from compbench.scorers.unidet import checkpoint as unidet
from compbench.scorers.unidet.detector import FILES
from compbench.scorers.unidet.model import UniDet
from tests.compbench.blip.tiny_blip import TINY as TINY_BLIP
from tests.compbench.unidet.random_unidet import VARIANTS, randomised

TINY_DPT = Sizes(width=32, heads=2, stem=32, layers=(1, 2, 1), channels=(128, 128, 256), features=16, grid=4)

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Published:
    """`tensors` lie in the file under `key`; `bias` names one whose shape has one dimension."""

    file: str
    key: str | None
    tensors: Tensors
    bias: str
    category: str
    load: Callable[..., Module]

    def write(self, weights: Path, tensors: Tensors | None = None) -> Path:
        """The file in the folder of all weights; its own tensors if None."""
        path = weights / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = self.tensors if tensors is None else tensors
        torch.save(tensors if self.key is None else {self.key: tensors, "iteration": 7}, path)
        return path


def published_blip() -> Published:
    return Published(
        f"blip/{blip.NAME}.pth",
        "model",
        random_checkpoint(TINY_BLIP),
        "visual_encoder.norm.bias",
        "color",
        lambda weights, **options: blip.load_model(weights, TINY_BLIP, **options),
    )


def published_unidet() -> Published:
    extras = {
        "pixel_mean": torch.zeros(3, 1, 1),
        "pixel_std": torch.ones(3, 1, 1),
        "backbone.fpn_output3.norm.num_batches_tracked": torch.tensor(3),
        "proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(9, 4),
    }
    return Published(
        FILES["r50"],
        "model",
        dict(randomised(UniDet(VARIANTS["r50"])).state_dict()) | extras,
        "backbone.top_block.p7.bias",
        "numeracy",
        lambda weights, **options: unidet.load_model(VARIANTS["r50"], weights, FILES["r50"], **options),
    )


def published_dpt() -> Published:
    unused = {
        "pretrained.model.head.weight": torch.zeros(10, TINY_DPT.width),
        "pretrained.model.head.bias": torch.zeros(10),
        "scratch.refinenet4.resConfUnit1.conv1.weight": torch.zeros(16, 16, 3, 3),
    }
    return Published(
        depth.FILE,
        None,
        dict(DptHybrid(TINY_DPT).state_dict()) | unused,
        "scratch.refinenet1.resConfUnit1.conv1.bias",
        "3d_spatial",
        lambda weights, **options: depth.load_network(weights, TINY_DPT, **options),
    )


PUBLISHED = {"blip": published_blip, "unidet": published_unidet, "dpt": published_dpt}
