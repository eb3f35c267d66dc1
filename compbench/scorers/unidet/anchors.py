"""Anchors of the region proposal network: nine for each cell of each level, their corners not rounded."""

import torch

from compbench.scorers.unidet.fpn import STRIDES

# Sides of square anchors, in pixels: three thirds of an octave for each level.
SIZES = tuple(tuple(base * 2 ** (third / 3) for third in range(3)) for base in (32, 64, 128, 256, 512))
ASPECT_RATIOS = (0.5, 1.0, 2.0)  # height / width
PER_CELL = 9


def cell_anchors(sizes: tuple[float, ...]) -> torch.Tensor:
    """Anchors around the origin, size by size and in each ratio by ratio, shape (len(sizes) * 3, 4)."""
    corners = []
    for size in sizes:
        for ratio in ASPECT_RATIOS:
            width, height = size / ratio**0.5, size * ratio**0.5
            corners.append([-width / 2, -height / 2, width / 2, height / 2])
    return torch.tensor(corners)


def grid_anchors(shapes: list[tuple[int, int]], device: torch.device) -> list[torch.Tensor]:
    """Anchors of each level, row by row of cells, each of shape (height * width * 9, 4).

    Args:
        shapes: (height, width) of p3..p7 in cells. A cell's anchors stand around its upper left corner.
    """
    levels = []
    for (height, width), stride, sizes in zip(shapes, STRIDES, SIZES, strict=True):
        y, x = torch.meshgrid(torch.arange(height) * stride, torch.arange(width) * stride, indexing="ij")
        corners = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
        levels.append((corners + cell_anchors(sizes)).reshape(-1, 4).to(device))
    return levels
