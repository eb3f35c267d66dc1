"""Which images of two arms are shown side by side, in which order and on which side."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from compbench.images import ImageRow, read_index
from lab.errors import LabError

SIDES = ("left", "right")


@dataclass(frozen=True)
class Pair:
    """One question of the page: the images that two arms drew of a prompt from the same noise.

    `left` and `right` name arms; `path` is the image's in the folder of either.
    """

    prompt: str
    category: str
    prompt_index: int
    path: str
    left: str
    right: str

    def plain(self) -> dict[str, object]:
        """The pair as JSON has it."""
        return asdict(self)


def draw_pairs(folders: Mapping[str, Path], count: int, seed: int) -> list[Pair]:
    """The first image of each of `count` prompts, drawn at random over all categories, in random order.

    Each arm stands on the left of half of the pairs, so that who always takes one side favours neither.

    Args:
        folders: the image folders of two arms, by the arm's name.
        seed: of prompts, order and sides.

    Raises:
        LabError: the arms drew different prompts, or fewer than were asked for.
        CompbenchError: an arm's `index.parquet` is missing or damaged.
    """
    first, second = folders
    rows = _first_images(folders[first])
    if rows != _first_images(folders[second]):
        raise LabError(
            f"The arms {first} and {second} drew different prompts, so their images are no pairs: generate both from "
            "the same prompts (`dvc repro`)."
        )
    if not 1 <= count <= len(rows):
        raise LabError(
            f"The study asks for {count} pairs, but the arms drew {len(rows)} prompts: ask for 1 to that many."
        )
    chance = random.Random(seed)
    drawn = chance.sample(rows, count)
    swapped = [number % 2 == 1 for number in range(count)]
    chance.shuffle(swapped)
    return [
        Pair(row.prompt, row.category, row.prompt_index, row.path, *((second, first) if swap else (first, second)))
        for row, swap in zip(drawn, swapped, strict=True)
    ]


def _first_images(folder: Path) -> Sequence[ImageRow]:
    firsts: dict[int, ImageRow] = {}
    for row in read_index(folder):
        firsts.setdefault(row.prompt_index, row)
    return list(firsts.values())
