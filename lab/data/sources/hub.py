"""Parquet tables that hold the images themselves, as `datasets` writes them, as a source of stage `sample`.

A data set that is kept in another form has such tables too: the hub makes them, at revision `refs/convert/parquet`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lab.data.sources.drawn import note_draw, too_few
from lab.data.sources.looked import Bounds, Item, looked
from lab.data.tabular.draw import Draw
from lab.data.tabular.files import find_files
from lab.data.tabular.filters import Passing, conditions
from lab.errors import LabError

BATCH = 64  # rows, with their images, at once


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
    columns: Mapping[str, str]
    filters: Mapping[str, Mapping]

    def images(self, places, record) -> Iterator[tuple[Image.Image, str, str]]:
        """Images by the rank of their rows in the draw, until there are enough."""
        draw = self._draw(places.store)
        try:
            items, nothing = map(self._item, draw.each()), lambda: too_few(self.size, draw, 0)
            yield from looked(items, self.size, Bounds.of(self), places, record, nothing)
        finally:
            note_draw(draw, record, places.target)

    def look(self, store: Path) -> None:
        """Sees that the tables can be read and have these columns. Raises as `images` does before it draws."""
        self._draw(store).look()

    def _draw(self, store: Path) -> Draw:
        files = find_files(self.folder, self.repo, self.revision, self.address, self.files, store)
        names = [self.columns["image"], self.columns["caption"]]
        return Draw(files, names, Passing(conditions(self.filters)), self.seed, batch=BATCH)

    def _item(self, row: Mapping) -> Item:
        """Raises: LabError for columns of other types."""
        image, caption = row[self.columns["image"]], row[self.columns["caption"]]
        content = image.get("bytes") if isinstance(image, Mapping) else image
        if not isinstance(content, bytes | None) or not isinstance(caption, str | None):
            raise LabError(
                "`sample.columns` must name a column of images as `datasets` writes them (bytes, or a struct that has "
                f"them) and one of text, but {row['file']} has {type(content).__name__} and {type(caption).__name__}."
            )
        return Item(f"{row['file']}#{row['row_group']}.{row['row']}", caption or "", content or b"")
