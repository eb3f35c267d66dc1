"""Rows of images with words beside and above them."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from lab.plots import font

GAP, HEAD, SIZE = 4, 20, 12


@dataclass(frozen=True)
class Row:
    """Some images and what stands beside them."""

    label: str
    images: Sequence[Image.Image]


def write_rows(rows: Sequence[Row], columns: Sequence[str], cell: int, text: int, path: Path) -> None:
    """Writes a PNG: a row of images each, under the names of the columns.

    Args:
        cell: pixels of an image's longer side.
        text: pixels for the labels.
    """
    step = cell + GAP
    canvas = Image.new("RGB", (text + len(columns) * step, HEAD + len(rows) * step), "white")
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(columns):
        draw.text((text + column * step + cell / 2, HEAD / 2), name, "black", font(SIZE), anchor="mm")
    for number, row in enumerate(rows):
        top = HEAD + number * step
        label = "\n".join(textwrap.wrap(row.label, text // 8, max_lines=max(1, cell // 16)))
        draw.multiline_text((GAP, top + cell / 2), label, "black", font(SIZE), anchor="lm")
        for column, image in enumerate(row.images):
            small = _within(image, cell)
            place = text + column * step + (cell - small.width) // 2, top + (cell - small.height) // 2
            canvas.paste(small, place)
    canvas.save(path, optimize=True)


def _within(image: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
