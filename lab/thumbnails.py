"""Small copies of an arm's first images: all that a report shows of it, so that it reads none of the images."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from compbench.images import ImageRow
from compbench.reading import read_image
from compbench.scorers.interface import SCORE_METRICS

SIDE = 160  # pixels of the longer side, and of a cell in the report's grid
MOST = 48  # prompts that a report can show
_REMEDY = "generate it again"
_Row = TypeVar("_Row", bound=ImageRow)


def first_images(rows: Iterable[_Row], count: int) -> list[_Row]:
    """The first image of `count` prompts: each category's first prompt, then its second, and so on.

    A rule, not a choice: nobody picked what is shown.
    """
    firsts: dict[str, dict[int, _Row]] = {}
    for row in rows:
        firsts.setdefault(row.category, {}).setdefault(row.prompt_index, row)
    queues = [list(firsts[category].values()) for category in SCORE_METRICS if category in firsts]
    return [queue[i] for i in range(max(map(len, queues))) for queue in queues if i < len(queue)][:count]


def write_thumbnails(target: Path, folder: Path, rows: Sequence[ImageRow]) -> None:
    """Writes copies of the images in `folder` that a report can show, under their own names; see `thumbnail`."""
    for row in first_images(rows, MOST):
        path = target / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        thumbnail(folder / row.path).save(path)


def thumbnail(path: Path) -> Image.Image:
    """The image as RGB, its shape kept, its longer side `SIDE` at most; a smaller one as it is, pixel by pixel."""
    image = read_image(path, _REMEDY)
    # Not by steps (`reducing_gap`): as the grid would scale the image itself.
    image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=None)
    return image
