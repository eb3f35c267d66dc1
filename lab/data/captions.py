"""Captioners: what an image shows, in words, from its pixels alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from compbench.text import is_blank
from lab.data.images import read_image
from lab.errors import LabError
from lab.world.captions import caption as exact_caption
from lab.world.detector import detect
from lab.world.geometry import CANVAS
from lab.world.reading import scene_of

SCHEMA = pa.schema([("id", pa.int64()), ("caption", pa.string()), ("captioner", pa.string())])


def caption_images(captioner: str, folder: Path, rows: Sequence[dict]) -> list[dict]:
    """A caption for each sampled image, as rows of `SCHEMA`.

    Args:
        captioner: "detector" describes what the world's detector sees; "source" keeps the words the image came with.
        folder: the sample, whose `rows` give `id`, `path` and `caption`.

    Raises:
        LabError: an image cannot be read, or the detector sees nothing in it.
    """
    describe = _CAPTIONERS[captioner]
    return [
        {"id": row["id"], "caption": describe(read_image(folder / row["path"]), row), "captioner": captioner}
        for row in rows
    ]


def _keep(_image: Image.Image, row: dict) -> str:
    if is_blank(row["caption"]):
        raise LabError(
            f"{row['path']} came without words, which `caption.captioner: source` would keep: take images that have "
            'some (a filter {none_of: [""]} on the column of words), or name a captioner that describes them.'
        )
    return row["caption"]


def _describe(image: Image.Image, row: dict) -> str:
    # The scene is read in the world's own pixels.
    found = detect(image if image.size == (CANVAS, CANVAS) else image.resize((CANVAS, CANVAS), Image.Resampling.BOX))
    if not found:
        raise LabError(
            f"The detector sees no object of the built-in world in {row['path']}; for other images set "
            "`caption.captioner` to source."
        )
    # The image's number picks the form, so that a caption depends on nothing but its image.
    rng = np.random.default_rng(row["id"])
    return exact_caption(scene_of(found, rng), rng)


_CAPTIONERS: dict[str, Callable[[Image.Image, dict], str]] = {"detector": _describe, "source": _keep}
