"""Tar files of images with their words, as webdataset has them, as a source of stage `sample`.

What belongs to one image lies one after the other and has one name up to the first dot: `0001.jpg`, `0001.txt`,
`0001.json`. Shards come in a seeded order and are read from their start, no further than is needed.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from PIL import Image

from compbench.errors import CompbenchError
from compbench.names import is_hidden
from compbench.text import decode, unify_ends
from lab.data.sources.drawn import note_files
from lab.data.sources.looked import Bounds, Item, looked
from lab.data.tables import is_text, spelled
from lab.data.tabular.files import Files, TableFile, find_files
from lab.errors import LabError

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jfif", "jpe", "jp2", "heic", "heif")
JSON = "json:"


@dataclass(frozen=True)
class Source:
    """Section `sample` of params.yaml."""

    folder: str
    repo: str | None
    revision: str | None
    address: str | None
    files: str
    size: int
    seed: int
    min_side: int
    max_pixels: int
    max_bytes: int
    duplicate_distance: int | None
    caption: str

    def images(self, places, record) -> Iterator[tuple[Image.Image, str, str]]:
        """Images in the order of their shards and in these, until there are enough."""
        files = self._shards(places.store)
        read: dict[str, str] = {}
        items = (item for file in files.in_order(self.seed) for item in self._of_shard(file, read))
        try:
            yield from looked(items, self.size, Bounds.of(self), places, record, lambda: self._none(files))
        finally:
            note_files(files, read, record)

    def _none(self, files: Files) -> str:
        return (
            f"`sample.size` is {self.size}, but the shards of {files.address} ({len(files.files)}) hold no file that "
            f"ends in {', '.join(IMAGES)}: correct `sample.files`, or pack the images under such names."
        )

    def look(self, store: Path) -> None:
        """Sees that the shards can be read, by a byte of the first. Raises as `images` does."""
        files = self._shards(store)
        with files.in_order(self.seed)[0].open() as shard:
            shard.read(1)

    def _shards(self, store: Path) -> Files:
        return find_files(self.folder, self.repo, self.revision, self.address, self.files, store)

    def _of_shard(self, file: TableFile, read: dict[str, str]) -> Iterator[Item]:
        """Raises: LabError for a shard that is no tar file or cut short."""
        read[file.name] = file.digest or f"bytes:{file.size}"
        try:
            with file.open(whole=True) as opened, tarfile.open(fileobj=opened, mode="r|*") as shard:
                files = (one for one in shard if one.isfile() and not is_hidden(one.name))
                for key, members in groupby(files, lambda one: _key(one.name)):
                    # A byte more than may be is enough to refuse the whole.
                    parts = {_ending(one.name): shard.extractfile(one).read(self.max_bytes + 1) for one in members}
                    yield from self._item(file, spelled(key), parts)
        except (tarfile.TarError, EOFError) as error:
            raise LabError(
                f"The shard {file.name} cannot be read ({error}): fetch it again, or leave it out by `sample.files`."
            ) from None

    def _item(self, file: TableFile, key: str, parts: Mapping[str, bytes]) -> Iterator[Item]:
        """The image of one sample, if it has any: of `0001.jpg` and `0001.mask.png` that with the shorter ending."""
        kinds = {ending: ending.rpartition(".")[2] for ending in parts}
        images = [ending for ending in parts if kinds[ending] in IMAGES]
        if images:
            first = min(images, key=lambda ending: (ending.count("."), IMAGES.index(kinds[ending])))
            yield Item(f"{file.name}#{key}", self._words(file, key, parts), parts[first])

    def _words(self, file: TableFile, key: str, parts: Mapping[str, bytes]) -> str:
        """Raises: LabError where a sample has none."""
        name = "json" if self.caption.startswith(JSON) else self.caption
        try:
            words = unify_ends(decode(parts[name], Path(key))).rstrip("\n")
            if name == "json":
                words = json.loads(words)[self.caption.removeprefix(JSON)]
            if words is None or (isinstance(words, str) and is_text(words)):
                return words or ""
            raise TypeError
        except (CompbenchError, KeyError, ValueError, TypeError, RecursionError):
            raise LabError(
                f"`sample.caption` is {self.caption!r}, but {key} of {file.name} has no such words in UTF-8; it has "
                f"{', '.join(parts)}."
            ) from None


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return path.with_name(path.name.partition(".")[0] or path.name).as_posix()


def _ending(name: str) -> str:
    return PurePosixPath(name).name.partition(".")[2].lower()
