"""Sizes that images are scaled and cropped to: one for all, or the nearest in shape of several."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Size(NamedTuple):
    """In pixels."""

    height: int
    width: int


def crop_sizes(resolution: int, aspects: Sequence[float], unit: int) -> list[Size]:
    """A size for each aspect (width / height), of about resolution x resolution pixels, in whole units, none twice."""
    sizes = [
        Size(_whole(resolution / math.sqrt(aspect), unit), _whole(resolution * math.sqrt(aspect), unit))
        for aspect in aspects
    ]
    return list(dict.fromkeys(sizes))


def _whole(pixels: float, unit: int) -> int:
    return max(1, round(pixels / unit)) * unit


def nearest(sizes: Sequence[Size], width: int, height: int) -> Size:
    """The size that an image of this shape loses least of; the first of equals."""
    return min(sizes, key=lambda size: abs(math.log(size.width / size.height * height / width)))
