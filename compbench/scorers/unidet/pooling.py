"""Features of a box: from the level that suits its size, resampled to 7 x 7."""

from collections.abc import Iterator

import torch
from torchvision.ops import roi_align

from compbench.scorers.unidet.fpn import STRIDES

SIDE = 7
LEVELS = (3, 4, 5)  # p6 and p7 serve proposals only
CANONICAL_LEVEL, CANONICAL_SIDE = 4, 224.0


def level_of(boxes: torch.Tensor) -> torch.Tensor:
    """The level, 3, 4 or 5, of boxes of shape (n, 4): Lin et al., 2017, equation 1, with detectron2's epsilon."""
    side = (boxes[:, 2:] - boxes[:, :2]).prod(-1).sqrt()
    level = torch.floor(CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIDE + 1e-8))
    return level.clamp(LEVELS[0], LEVELS[-1]).long()


def pool(features: list[torch.Tensor], boxes: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Level by level, the indices of its boxes, and their features, shape (n of the level, channels, 7, 7).

    Together they would be 50 MB for 1000 boxes, which takes longer to put in order than what a head makes of them.

    Args:
        features: p3, p4 and p5 of one image, each of shape (1, channels, height, width).
        boxes: shape (n, 4), in pixels.
    """
    levels = level_of(boxes)
    for level, stride, of_level in zip(LEVELS, STRIDES, features, strict=False):
        chosen = (levels == level).nonzero()[:, 0]
        # In half precision the reference implementation rounds the boxes too.
        regions = [boxes[chosen].to(of_level.dtype)]
        yield chosen, roi_align(of_level, regions, SIDE, 1 / stride, sampling_ratio=0, aligned=True)
