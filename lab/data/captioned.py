"""The sampled images with the captions that the models learn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from compbench.tables import read_columns
from lab.errors import LabError


@dataclass(frozen=True)
class CaptionedImage:
    """One image, its size in pixels, and its caption; `path` starts from the sample's folder."""

    path: str
    caption: str
    width: int
    height: int


class CaptionedImages(Sequence[CaptionedImage]):
    """All of them in the sample's order, kept as columns: a hundredth of what a Python object each would take.

    Raises:
        CompbenchError: a table cannot be read.
        LabError: an image has no caption.
    """

    def __init__(self, index: Path, captions: Path):
        self.images = read_columns(index, ["id", "path", "width", "height"])
        found = read_columns(captions, ["id", "caption"])
        places = pc.index_in(self.images["id"], value_set=found["id"].combine_chunks())
        self.captions = found["caption"].take(places)
        if self.captions.null_count:
            raise LabError(
                f"{captions} has no captions of {self.captions.null_count} images of {index}: make both again."
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> CaptionedImage:
        path, width, height = (self.images[name][index].as_py() for name in ("path", "width", "height"))
        return CaptionedImage(path, self.captions[index].as_py(), width, height)
