"""Image sources: scenes of the built-in world with alt texts, or the user's own captioned folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from lab.data.images import read_image
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
CAPTION_COLUMNS = ("text", "caption")


def sample(source: str, folder: str | None, size: int, seed: int, target: Path, cache: Path) -> list[dict]:
    """Writes `size` images to `target/images/` and returns their rows (`SCHEMA`), paths relative to `target`.

    Args:
        source: "world", or "folder" for images with captions as datasets' imagefolder reads them.
        cache: a folder for what datasets writes while it reads.

    Raises:
        LabError: the folder holds too few images, no captions, or an image that cannot be read.
    """
    (target / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (image, caption, origin) in enumerate(_SOURCES[source](folder, size, seed, cache)):
        path = f"images/{number:06d}.png"
        image.save(target / path)
        width, height = image.size
        rows.append(
            {"id": number, "path": path, "caption": caption, "source": origin, "width": width, "height": height}
        )
    return rows


def _from_world(_folder, size, seed, _cache) -> Iterator[tuple[Image.Image, str, str]]:
    rng = np.random.default_rng(seed)
    for _ in range(size):
        scene = sample_scene(rng)
        yield render(scene), alt_text(scene, rng), "world"


def _from_folder(folder, size, seed, cache) -> Iterator[tuple[Image.Image, str, str]]:
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    found = load_dataset("imagefolder", data_dir=folder, split="train", cache_dir=str(cache))
    column = next((name for name in CAPTION_COLUMNS if name in found.column_names), None)
    if column is None:
        raise LabError(
            f"`sample.folder` {folder!r} has no captions: put a metadata.csv with the columns file_name and text in it."
        )
    if len(found) < size:
        raise LabError(f"`sample.size` is {size}, but {folder!r} holds {len(found)} images; lower it or add images.")
    # Undecoded, so that an image that cannot be read is named.
    found = found.cast_column("image", ImageFeature(decode=False))
    for index in np.sort(np.random.default_rng(seed).permutation(len(found))[:size]):
        row = found[int(index)]
        yield read_image(Path(row["image"]["path"])), row[column], Path(row["image"]["path"]).name


_SOURCES: dict[str, Callable[..., Iterator]] = {"world": _from_world, "folder": _from_folder}
