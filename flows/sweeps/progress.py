"""What has become of a sweep's cells; told to the log and written to its page as it changes."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from compbench.statistics import Interval
from compbench.table import Scores
from flows.running.workspace import cached_file
from flows.sweeps.cells import Cell
from flows.sweeps.definition import Overrides, Sweep, labelled
from flows.sweeps.experiments import lock_of
from lab.params import validate
from lab.params.settings import arm_settings
from lab.report.curves import papers_threshold
from lab.report.provenance import manifest_path, read_manifest
from lab.report.results import Arm, Results, compare
from lab.report.sweep import CELLS, write_sweep
from runtime.errors import StageError
from runtime.params import read_yaml

FOLDER = Path("results") / "sweeps"


class Finished(NamedTuple):
    """What a sweep's page keeps of a cell; `experiment` is its commit."""

    label: str
    overrides: Overrides
    arm: str
    experiment: str


class Progress:
    """Cells by label: the scores of finished ones, and of their rungs, as arms; why others failed or were dropped."""

    def __init__(self, root: Path, name: str, sweep: Sweep, say: Callable[[str], None]):
        self.done: dict[str, Arm] = {}
        self.partial: dict[tuple[str, int], Arm] = {}  # by the number of prompts too
        self.failed: dict[str, str] = {}
        self.pruned: dict[str, str] = {}
        self.folder = root / FOLDER / name
        self._root, self._name, self._sweep, self._say = root, name, sweep, say
        self.settings: dict[str, dict[str, object]] = {}  # of finished cells
        self._facts: dict[str, dict[str, object]] = {}
        params = read_yaml(root / "params.yaml")
        self._report = params["report"]
        size = (params["generate"][side] for side in ("height", "width"))
        self._marked = partial(papers_threshold, root / "models" / "base" / params["base"]["name"], *size)
        self._began, self._ran = time.monotonic(), 0

    def finished(self, cell: Cell, commit: str, ran: bool) -> None:
        """Takes in the scores of a cell; `ran` says that it ran just now.

        Raises:
            StageError: they are not in DVC's cache.
        """
        arm, limit = scored(self._root, cell, commit), cell.overrides.get("limit")
        if limit is None:
            self.done[cell.label] = arm
            self.settings[cell.label] = arm_settings(validate(cell.params), cell.arm)
            facts = {"label": cell.label, "overrides": cell.overrides, "experiment": commit, "arm": cell.arm}
            self._facts[cell.label] = facts | {"scores_md5": arm.md5}
        else:
            self.partial[cell.label, limit] = arm
        self._ran += ran

    def show(self, left: int, running: int) -> None:
        """Writes the page and says how far the sweep is."""
        notes = [f"{label}: {why}" for label, why in {**self.failed, **self.pruned}.items()]
        facts = {label: self._facts[label] for label in self._in_order()}
        about = self._sweep.model_dump(include={"title", "compare_with", "paper"})
        about |= {"name": self._name, "marked": self._marked}
        write_sweep(self.folder, self.compared(), facts, notes, self.settings, **about)
        seconds = (time.monotonic() - self._began) / self._ran * left if self._ran else None
        ahead = f", about {seconds / 60:.0f} min left" if seconds and left else ""
        to_go = left - running
        self._say(f"{len(self.done)} cells done, {running} running, {len(self.failed)} failed, {to_go} to go{ahead}.")

    def compared(self) -> Results | None:
        """Paired differences of the finished cells; None as long as the one to compare with is missing."""
        if self._sweep.compare_with not in self.done:
            return None
        return self._compare([self.done[label] for label in self._in_order()])

    def difference(self, label: str, limit: int | None, category: str) -> Interval | None:
        """The cell's difference to the compared one, each with so many prompts; None when one of them has failed.

        Raises:
            StageError: the category was not scored.
        """
        names = (self._sweep.compare_with, label)
        pair = [self.done.get(name) if limit is None else self.partial.get((name, limit)) for name in names]
        if None in pair:
            return None
        results = self._compare(pair)
        if category not in results.categories:
            raise StageError(
                f"The search's `objective` is {category!r}, but must be one of {', '.join(results.categories)}."
            )
        return results.of(results.compared[0], category).difference

    def _compare(self, arms: list[Arm]) -> Results:
        return compare(arms, self._sweep.compare_with, self._report["bootstrap"], self._report["seed"])

    def _in_order(self) -> list[str]:
        """Labels of the finished cells: those of the file, in its order, then those that were drawn."""
        order = [label for label, _ in labelled(self._sweep)]
        return [label for label in dict.fromkeys([*order, *self.done]) if label in self.done]


def finished_cells(folder: Path) -> dict[str, Finished]:
    """By label, the cells of which a sweep's page in `folder` has scores.

    Raises:
        StageError: there is no such page.
    """
    path = folder / CELLS
    if not path.exists():
        raise StageError(f"There is no {path}: run `make sweep SWEEP={folder.name}` first.")
    listed = json.loads(path.read_text(encoding="utf-8"))
    return {cell["label"]: Finished(**{key: cell[key] for key in Finished._fields}) for cell in listed}


def score_files(root: Path, cell: Cell | Finished, commit: str) -> dict[str, str]:
    """Paths and hashes of a finished cell's scores and of their manifest."""
    outs = {out["path"]: out["md5"] for out in lock_of(root, commit)["stages"][f"score@{cell.arm}"]["outs"]}
    path = f"results/scores/{cell.arm}.parquet"
    return {path: outs[path] for path in (path, str(manifest_path(Path(path))))}


def scored(root: Path, cell: Cell | Finished, commit: str) -> Arm:
    """A finished cell's scores, as DVC's cache has them.

    Raises:
        StageError: it has not.
    """
    md5, manifest_md5 = score_files(root, cell, commit).values()
    scores, manifest = cached_file(root, md5), cached_file(root, manifest_md5)
    if not (scores.exists() and manifest.exists()):
        raise StageError(
            f"The scores of {cell.label} ({md5}) are not in DVC's cache: `dvc fetch` them, or remove its "
            f"experiment (`dvc exp remove {commit[:10]}`) to have it run again."
        )
    return Arm(cell.label, cell.overrides, md5, Scores.read(scores), read_manifest(manifest))
