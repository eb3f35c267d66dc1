"""Captioners: what an image shows, in words, from its pixels alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from lab.data.images import read_image
from lab.errors import LabError
from lab.world.captions import MAX_TOKENS, MENTIONS, noun
from lab.world.detector import Detection, detect
from lab.world.vocabulary import token_count

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
    return row["caption"]


def _describe(image: Image.Image, row: dict) -> str:
    found = detect(image)
    if not found:
        raise LabError(
            f"The detector sees no object of the built-in world in {row['path']}; for other images set "
            "`caption.captioner` to source."
        )
    # In the order in which the world's captions name objects.
    found = sorted(found[:4], key=lambda d: (sum(d.box), d.box[0]))
    # The image's number picks the form, so that a caption depends on nothing but its image.
    return describe(found, np.random.default_rng(row["id"]))


def describe(found: Sequence[Detection], rng: np.random.Generator) -> str:
    """A caption of up to four detections, of at most `MAX_TOKENS` tokens, which names all of their kind."""
    while True:
        mention = str(rng.choice(list(MENTIONS)))
        phrases = [noun(item, mention) for item in found]
        text = " and ".join(phrases)
        if len(found) == 2 and rng.random() < 0.5:
            text = f"{phrases[0]} {_relation(*found)} {phrases[1]}"
        # Four objects fit only by shape, and not all of them.
        while token_count(text) > MAX_TOKENS and len(phrases) > 3:
            phrases = phrases[:-1]
            text = " and ".join(phrases)
        if token_count(text) <= MAX_TOKENS:
            return text


def _relation(first: Detection, second: Detection) -> str:
    """Where the first object lies from the second, by the larger offset of their centres."""
    dx, dy = ((second.box[i] + second.box[i + 2] - first.box[i] - first.box[i + 2]) / 2 for i in (0, 1))
    if abs(dx) > abs(dy):
        return "on the left of" if dx > 0 else "on the right of"
    return "on the top of" if dy > 0 else "on the bottom of"


_CAPTIONERS: dict[str, Callable[[Image.Image, dict], str]] = {"detector": _describe, "source": _keep}
