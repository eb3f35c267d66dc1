"""Sizes that images are scaled and cropped to: one for all, or the nearest in shape of several."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from lab.errors import LabError

FAR = 8  # times the crop's side: what lies farther out is cut off before scaling


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


def sizes_for(family, vae_config: Mapping, resolution: int | None, aspects: Sequence[float]) -> list[Size]:
    """The crops of `encode.resolution` and `encode.aspects`.

    Args:
        family: `lab.models.family.Family` of the base.
        resolution: pixels a side; None for the base's own.

    Raises:
        LabError: the autoencoder or the transformer's patches cannot take it.
    """
    scale = 2 ** (len(vae_config["block_out_channels"]) - 1)
    square = family.default_size * scale if resolution is None else resolution
    fault = family.size_fault(square, square, scale)
    if fault:
        raise LabError(f"`encode.resolution` is {square}, but {fault}.")
    sizes = crop_sizes(square, aspects, scale * family.patch)
    for size in sizes:
        fault = family.size_fault(*size, scale)
        if fault:
            raise LabError(
                f"`encode.aspects` makes images of {size.width} x {size.height} pixels, but a side {fault}: lower "
                "`encode.resolution`, or leave the longest shapes out."
            )
    return sizes


def sizes_of_base(base: Path, resolution: int | None, aspects: Sequence[float]) -> list[Size]:
    """As `sizes_for`, of the checkpoint in the folder `base`."""
    from lab.models.load import family_of_base, part_config

    family = family_of_base(base)
    return sizes_for(family, part_config(base, "vae"), resolution, aspects)


def nearest(sizes: Sequence[Size], width: int, height: int) -> Size:
    """The size that an image of this shape loses least of; the first of equals."""
    return min(sizes, key=lambda size: abs(math.log(size.width / size.height * height / width)))


def crop(image: Image.Image, size: Size) -> Image.Image:
    """The image scaled until it covers `size`, and what hangs over at two sides cut off, as pipelines do it."""
    from diffusers.image_processor import VaeImageProcessor

    return VaeImageProcessor().resize(_shortened(image, size), size.height, size.width, resize_mode="crop")


def _shortened(image: Image.Image, size: Size) -> Image.Image:
    """Without the ends that lie far beyond the crop: a line of 5000 x 3 pixels, scaled whole, is one of gigabytes."""
    scale = max(size.width / image.width, size.height / image.height)
    width, height = (
        min(there, math.ceil(FAR * wanted / scale))
        for there, wanted in ((image.width, size.width), (image.height, size.height))
    )
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image if (width, height) == image.size else image.crop((left, top, left + width, top + height))
