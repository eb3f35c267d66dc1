"""One picture of prompts against arms: what the numbers look like."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw

from compbench.scorers.interface import SCORE_METRICS
from compbench.table import ScoreRow
from lab.plots import font
from lab.report.results import Results
from lab.thumbnails import SIDE as CELL
from lab.thumbnails import first_images

GAP, TEXT, HEAD, FOOT = 8, 190, 26, 16


def grid_prompts(results: Results, count: int) -> list[ScoreRow]:
    """The first images of the baseline (`first_images`), category by category, by the metric of each category."""
    rows = (row for row in results.baseline.scores.firsts() if row.metric == SCORE_METRICS[row.category])
    order = {category: i for i, category in enumerate(results.categories)}
    return sorted(first_images(rows, count), key=lambda row: order[row.category])


def write_grid(results: Results, folders: Mapping[str, Path], count: int, path: Path) -> None:
    """Writes the grid as PNG: a row for each prompt, a column for each arm, the image's score under it.

    Args:
        folders: each arm's folder of thumbnails, by the arm's name.
        count: number of prompts, `lab.thumbnails.MOST` at most.
    """
    shown = grid_prompts(results, count)
    paths = [row.path for row in shown]
    scores = {
        arm.name: {(row.path, row.metric): row.score for row in arm.scores.of_images(paths)} for arm in results.arms
    }
    width = TEXT + len(results.arms) * (CELL + GAP)
    canvas = Image.new("RGB", (width, HEAD + len(shown) * (CELL + FOOT + GAP)), "white")
    draw = ImageDraw.Draw(canvas)
    for j, arm in enumerate(results.arms):
        x = TEXT + j * (CELL + GAP)
        draw.text((x + CELL / 2, HEAD / 2), arm.name, "black", font(13), anchor="mm")
        for i, row in enumerate(shown):
            y = HEAD + i * (CELL + FOOT + GAP)
            canvas.paste(_cell(folders[arm.name] / row.path), (x, y))
            score = scores[arm.name][row.path, row.metric]
            draw.text((x + CELL / 2, y + CELL + FOOT / 2), f"{score:.2f}", "#666666", font(11), anchor="mm")
    for i, row in enumerate(shown):
        place = (GAP, HEAD + i * (CELL + FOOT + GAP) + CELL / 2)
        draw.multiline_text(place, "\n".join(textwrap.wrap(row.prompt, 25)), "black", font(13), anchor="lm")
    canvas.save(path, optimize=True)


def _cell(path: Path) -> Image.Image:
    """The image in a white cell, its shape kept."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    scale = CELL / max(image.size)
    small = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    cell = Image.new("RGB", (CELL, CELL), "white")
    cell.paste(small, ((CELL - small.width) // 2, (CELL - small.height) // 2))
    ImageDraw.Draw(cell).rectangle((0, 0, CELL - 1, CELL - 1), outline="#dddddd")
    return cell
