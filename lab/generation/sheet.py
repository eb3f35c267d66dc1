"""A contact sheet: some of an arm's images side by side, small, to look at in its run."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

COLUMNS, ROWS = 10, 6
SIDE = 256  # pixels: sixty images of 1024 x 1024 at their own size are a picture of 108 MB


def contact_sheet(paths: Sequence[Path]) -> Image.Image:
    """Up to `COLUMNS` x `ROWS` images, spread evenly over `paths`, the longer side of each `SIDE` at most."""
    wanted = min(COLUMNS * ROWS, len(paths))
    chosen = [paths[number * len(paths) // wanted] for number in range(wanted)]
    width, height = _small(chosen[0]).size
    sheet = Image.new("RGB", (COLUMNS * width, -(-wanted // COLUMNS) * height), "white")
    for number, path in enumerate(chosen):
        sheet.paste(_small(path), (number % COLUMNS * width, number // COLUMNS * height))
    return sheet


def _small(path: Path) -> Image.Image:
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))  # never enlarges
    return small
