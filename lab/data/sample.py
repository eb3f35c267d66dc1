"""Image sources: scenes of the built-in world with alt texts, or the user's own captioned folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from lab.data.folder import captioned_files
from lab.data.shown import read_shown
from lab.errors import LabError
from lab.world.captions import alt_text
from lab.world.render import render
from lab.world.scene import sample_scene

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("path", pa.string()),
        ("caption", pa.string()),
        ("source", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)


def sample(source: str, folder: str | None, size: int, seed: int, target: Path, unpacked: Path) -> list[dict]:
    """Writes `size` images to `target/images/` and returns their rows (`SCHEMA`), paths relative to `target`.

    Args:
        source: "world", or "folder" for images with a table of captions, laid out as datasets' imagefolder wants them.
        unpacked: a folder for what ZIP archives in the user's folder hold.

    Raises:
        LabError: the folder holds too few images, no captions, or an image that cannot be read.
        CompbenchError: a table of captions is not in UTF-8.
    """
    (target / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (image, caption, origin) in enumerate(_SOURCES[source](folder, size, seed, unpacked)):
        path = f"images/{number:06d}.png"
        image.save(target / path)
        width, height = image.size
        rows.append(
            {"id": number, "path": path, "caption": caption, "source": origin, "width": width, "height": height}
        )
    return rows


def _from_world(_folder, size, seed, _unpacked) -> Iterator[tuple[Image.Image, str, str]]:
    rng = np.random.default_rng(seed)
    for _ in range(size):
        scene = sample_scene(rng)
        yield render(scene), alt_text(scene, rng), "world"


def _from_folder(folder, size, seed, unpacked) -> Iterator[tuple[Image.Image, str, str]]:
    found = captioned_files(Path(folder), unpacked)
    if len(found) < size:
        raise LabError(f"`sample.size` is {size}, but {folder!r} holds {len(found)} images; lower it or add images.")
    for index in np.sort(np.random.default_rng(seed).permutation(len(found))[:size]):
        yield read_shown(found[index].path), found[index].caption, found[index].name


_SOURCES: dict[str, Callable[..., Iterator]] = {"world": _from_world, "folder": _from_folder}
