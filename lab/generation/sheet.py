"""A contact sheet: some of an arm's images side by side, to look at in its run."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

COLUMNS, ROWS = 10, 6


def contact_sheet(paths: Sequence[Path]) -> Image.Image:
    """Up to `COLUMNS` x `ROWS` images, spread evenly over `paths`, each at its own size."""
    wanted = min(COLUMNS * ROWS, len(paths))
    chosen = [paths[number * len(paths) // wanted] for number in range(wanted)]
    with Image.open(chosen[0]) as first:
        width, height = first.size
    sheet = Image.new("RGB", (COLUMNS * width, -(-wanted // COLUMNS) * height), "white")
    for number, path in enumerate(chosen):
        with Image.open(path) as image:
            sheet.paste(image.convert("RGB"), (number % COLUMNS * width, number // COLUMNS * height))
    return sheet
