"""The figures of stage `analyze`, as the report shows them."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.analysis.acting import acting


@dataclass(frozen=True)
class Figure:
    """An image file, and what stands above and below it."""

    path: Path
    title: str
    note: str


@dataclass(frozen=True)
class Analysed:
    """What the stage left.

    Attributes:
        md5: DVC's hash of its folder.
        doses: what methods do to logits, with their settings; see `lab.analysis.doses.Dose`.
    """

    figures: tuple[Figure, ...]
    md5: str
    doses: tuple[Mapping[str, str], ...] = ()

    def dose(self, arm) -> Mapping[str, str] | None:
        """That of the method of an arm, an entry of section `arms`; None where it was not measured."""
        return next((dose for dose in self.doses if acting(arm).items() <= dose.items()), None)

    @property
    def hash(self) -> str:
        """The short hash that `make run HASH=…` takes."""
        return self.md5[:8]


def read_analysis(folder: Path, md5: str) -> Analysed:
    """The figures that `figures.json` lists, in its order."""
    listed = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    figures = tuple(Figure(folder / one["file"], one["title"], one["note"]) for one in listed)
    with (folder / "doses.csv").open(newline="", encoding="utf-8") as file:
        return Analysed(figures, md5, tuple(csv.DictReader(file)))
