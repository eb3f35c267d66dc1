"""A folder of images in the benchmark's layout, `<category>/samples/{prompt}_{index:06d}.png`, with `index.parquet`."""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from compbench.errors import CompbenchError
from compbench.reading import check_whole, read_image
from compbench.scorers.geometry import LONG_SIDE, frame_size
from compbench.scorers.interface import Prompt
from compbench.tables import iterate_table

NAME = re.compile(r"(?P<prompt>[^_]+)_(?P<index>\d{6,})\.png")
REMEDY = "delete the folder and generate its images again"


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image: `index` counts within its category, `prompt_index` is the prompt's, `path` relative to the folder."""

    index: int
    prompt: str
    category: str
    prompt_index: int
    path: str


def read_index(folder: Path) -> list[ImageRow]:
    """The images that the folder's `index.parquet` lists, in its order; raises as `read_table`."""
    columns = list(ImageRow.__dataclass_fields__)
    known: dict[str, str] = {}  # a prompt's images share its text
    return [
        ImageRow(**row | {name: known.setdefault(row[name], row[name]) for name in ("prompt", "category")})
        for row in iterate_table(folder / "index.parquet", columns)
    ]


def check_folder(folder: Path, rows: Sequence[ImageRow], prompts: dict[int, Prompt]) -> None:
    """Refuses a folder whose images are not exactly those of its index, or not those of the prompts, before any work.

    Files are looked at and not read: what is damaged between beginning and end shows when they are.

    Raises: CompbenchError naming the first file or row that is wrong, and what to do.
    """
    if not rows:
        raise CompbenchError(f"{folder / 'index.parquet'} lists no images: {REMEDY}.")
    for row in rows:
        _check_row(folder, row, prompts)
    listed = {row.path for row in rows}
    stray = min((path for path in folder.glob("*/samples/*") if _is_stray(path, folder, listed)), default=None)
    if stray is not None and NAME.fullmatch(stray.name) is None:
        raise CompbenchError(
            f"{stray} is not named {{prompt}}_{{index:06d}}.png as the benchmark's images are: move it out of the "
            "folder."
        )
    if stray is not None:
        raise CompbenchError(f"{stray} is not listed in the folder's index.parquet: move it out of the folder.")
    for name in sorted(listed):
        check_whole(folder / name, REMEDY)


def open_image(path: Path, remedy: str = REMEDY) -> Image.Image:
    """The whole image, decoded, as RGB.

    Raises: CompbenchError naming the file when it cannot be read to its end, or is too long for the benchmark's frame.
    """
    image = read_image(path, remedy)
    if min(frame_size(*image.size)) < 1:
        raise CompbenchError(
            f"The image {path} has {image.width} x {image.height} pixels, of which nothing is left in the benchmark's "
            f"frame of {LONG_SIDE} pixels at most: {remedy}."
        )
    return image


def _is_stray(path: Path, folder: Path, listed: Set[str]) -> bool:
    return path.relative_to(folder).as_posix() not in listed


def _check_row(folder: Path, row: ImageRow, prompts: dict[int, Prompt]) -> None:
    prompt = prompts.get(row.prompt_index)
    if prompt is None or (prompt.prompt, prompt.category) != (row.prompt, row.category):
        raise CompbenchError(
            f'{folder / row.path} was made for prompt {row.prompt_index}, "{row.prompt}" ({row.category}), which is '
            f"not in the prompts table: {REMEDY}."
        )
    name = NAME.fullmatch(Path(row.path).name)
    if name is None or name["prompt"] != row.prompt or Path(row.path).parts[:-1] != (row.category, "samples"):
        raise CompbenchError(
            f"{folder / row.path} is not named {row.category}/samples/{row.prompt}_{{index:06d}}.png: {REMEDY}."
        )
