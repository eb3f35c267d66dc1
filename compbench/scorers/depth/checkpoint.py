"""The published weights of DPT-Hybrid."""

import re
from pathlib import Path

import torch

from compbench.scorers.depth.backbone import Sizes
from compbench.scorers.depth.network import DptHybrid
from compbench.weights.checkpoint import Checkpoint, load

FILE = "dpt/dpt_hybrid-midas-501f0c75.pt"
# In the published file, but without a part in depth: the classifier that the ViT was trained with, and a unit of the
# coarsest level, which has no other map to join.
UNUSED = re.compile(r"pretrained\.model\.head\.(weight|bias)|scratch\.refinenet4\.resConfUnit1\..+")


def load_network(weights: Path, sizes: Sizes | None = None, extra: bool = False) -> DptHybrid:
    """The network in float32 on the CPU, from the folder of all weights.

    Args:
        sizes: the published network's if None.
        extra: as `Checkpoint` has it.

    Raises: CompbenchError when there is no checkpoint, or one that cannot be read or has other tensors.
    """
    with torch.device("meta"):
        network = DptHybrid(sizes)
    return load(network, Checkpoint(weights, FILE, "DPT-Hybrid", unused=UNUSED, extra=extra))
