"""The figures of stage `analyze`, as the report shows them."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """An image file, and what stands above and below it."""

    path: Path
    title: str
    note: str


@dataclass(frozen=True)
class Analysed:
    """What the stage left. `md5` is DVC's hash of its folder."""

    figures: tuple[Figure, ...]
    md5: str

    @property
    def hash(self) -> str:
        """The short hash that `make run HASH=…` takes."""
        return self.md5[:8]


def read_analysis(folder: Path, md5: str) -> Analysed:
    """The figures that `figures.json` lists, in its order."""
    listed = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    return Analysed(tuple(Figure(folder / one["file"], one["title"], one["note"]) for one in listed), md5)
