"""Arithmetic of boxes (x0, y0, x1, y1), shape (n, 4), in pixels; it is done in float32 whatever the features are."""

import math

import torch

# No box grows more than from 16 to 1000 pixels in one step (Faster R-CNN's usual limit).
LARGEST_LOG_SCALE = math.log(1000 / 16)


def decode(boxes: torch.Tensor, deltas: torch.Tensor, weights: tuple[float, float, float, float]) -> torch.Tensor:
    """Moves and scales boxes (Girshick et al., 2014, arXiv 1311.2524, appendix C).

    Args:
        deltas: shape (n, 4): of the centre, in sides of the box, and of the logarithms of the sides.
        weights: what the four deltas are divided by.
    """
    shift, log_scale = (deltas.float() / deltas.new_tensor(weights, dtype=torch.float32)).split(2, dim=-1)
    sides = boxes[..., 2:] - boxes[..., :2]
    centres = boxes[..., :2] + 0.5 * sides + shift * sides
    half = 0.5 * sides * log_scale.clamp(max=LARGEST_LOG_SCALE).exp()
    return torch.cat([centres - half, centres + half], dim=-1)


def clip(boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The part of each box that lies in the image; a box outside becomes empty."""
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x, y], dim=-1).flatten(-2)


def not_empty(boxes: torch.Tensor) -> torch.Tensor:
    """Which boxes have an area, shape (n,)."""
    return (boxes[..., 2:] > boxes[..., :2]).all(-1)
