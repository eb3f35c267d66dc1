"""UniDet's published weights."""

import re
from pathlib import Path

import torch

from compbench.scorers.unidet.model import UniDet, Variant
from compbench.weights.checkpoint import Checkpoint, load

# What detectron2 writes beside the weights: constants that this code has itself, and counters of training.
_UNUSED = re.compile(r"pixel_mean|pixel_std|(.+\.)?num_batches_tracked|(.+\.)?anchor_generator\.cell_anchors\..+")


def load_model(variant: Variant, weights: Path, name: str, extra: bool = False) -> UniDet:
    """A model in float32 on the CPU, from the folder of all weights.

    Args:
        name: of the published file in that folder.
        extra: as `Checkpoint` has it.

    Raises: CompbenchError when there is no checkpoint, or one that cannot be read or has other tensors.
    """
    with torch.device("meta"):
        model = UniDet(variant)
    return load(model, Checkpoint(weights, name, "this UniDet", "model", _UNUSED, extra=extra))
