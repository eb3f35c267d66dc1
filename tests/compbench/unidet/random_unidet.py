"""Both variants of UniDet at a small width, and random weights that do something."""

from dataclasses import replace

import torch
from torch.nn import Module

from compbench.scorers.unidet.detections import Detections
from compbench.scorers.unidet.model import R50, RS200

SMALL = {"width": 8, "channels": 16, "hidden": 24, "classes": 5}
VARIANTS = {"rs200": replace(RS200, blocks=(1, 2, 2, 1), **SMALL), "r50": replace(R50, blocks=(1, 2, 2, 1), **SMALL)}
# R50's pixels are not brought to a scale of 1, and boxes must stay in the image.
SCALES = {"stem.conv1.weight": 1 / 60, "fpn_lateral": 1 / 50, "anchor_deltas": 0.2, "cls_score": 0.8}


def randomised(model: Module, seed: int = 0) -> Module:
    """Every tensor matters: no normalisation is the identity, logits and deltas are far from 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim > 1:
            scale = next((scale for part, scale in SCALES.items() if part in name), 1.0)
            tensor.copy_(noise * scale * (2 / tensor[0].numel()) ** 0.5)
        elif name.endswith("running_var") or ("weight" in name and ("norm" in name or "bn" in name)):
            tensor.copy_(1 + 0.3 * noise.clamp(-2, 2))
        else:
            tensor.copy_(0.2 * noise)
    return model.requires_grad_(False).eval()


def assert_same_detections(found: Detections, expected: Detections, of_score: float, of_box: float) -> None:
    """Up to the order of ties: boxes that pool the same features have the same score."""
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=of_score)
    for box, score, index in zip(*expected, strict=True):
        same = (found.scores - score).abs().le(of_score) & found.classes.eq(index)
        assert (found.boxes[same] - box).abs().amax(1).min() < of_box
