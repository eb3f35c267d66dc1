"""What has become of a sweep's cells; told to the log and written to its page as it changes."""

import time
from collections.abc import Callable
from pathlib import Path

from compbench.statistics import Interval
from flows.sweeps import report
from flows.sweeps.cells import Cell
from flows.sweeps.definition import Sweep, labelled
from runtime.errors import StageError
from runtime.params import read_yaml


class Progress:
    """Finished cells by label, those of rungs by their number of prompts too; and why others failed or were dropped."""

    def __init__(self, root: Path, name: str, sweep: Sweep, say: Callable[[str], None]):
        self.done: dict[str, report.Done] = {}
        self.partial: dict[tuple[str, int], report.Done] = {}
        self.failed: dict[str, str] = {}
        self.pruned: dict[str, str] = {}
        self.folder = root / report.FOLDER / name
        self._root, self._name, self._sweep, self._say = root, name, sweep, say
        self._report = read_yaml(root / "params.yaml")["report"]
        self._began, self._ran = time.monotonic(), 0

    def finished(self, cell: Cell, commit: str, ran: bool) -> None:
        """Takes in the scores of a cell; `ran` says that it ran just now."""
        found, limit = report.done(self._root, cell, commit), cell.overrides.get("limit")
        if limit is None:
            self.done[cell.label] = found
        else:
            self.partial[cell.label, limit] = found
        self._ran += ran

    def show(self, left: int, running: int) -> None:
        """Writes the page and says how far the sweep is."""
        notes = [f"{label}: {why}" for label, why in {**self.failed, **self.pruned}.items()]
        report.write(self._root, self._name, self._sweep, self._in_order(), notes, self._report)
        seconds = (time.monotonic() - self._began) / self._ran * left if self._ran else None
        ahead = f", about {seconds / 60:.0f} min left" if seconds and left else ""
        to_go = left - running
        self._say(f"{len(self.done)} cells done, {running} running, {len(self.failed)} failed, {to_go} to go{ahead}.")

    def compared(self):
        """Paired differences of the finished cells, or None."""
        return report.compared(self._sweep, self._in_order(), self._report)

    def difference(self, label: str, limit: int | None, category: str) -> Interval | None:
        """The cell's difference to the compared one, each with so many prompts; None when one of them has failed.

        Raises:
            StageError: the category was not scored.
        """
        names = (self._sweep.compare_with, label)
        pair = [self.done.get(name) if limit is None else self.partial.get((name, limit)) for name in names]
        if None in pair:
            return None
        results = report.compared(self._sweep, pair, self._report)
        if category not in results.categories:
            raise StageError(
                f"The search's `objective` is {category!r}, but must be one of {', '.join(results.categories)}."
            )
        return results.of(results.compared[0], category).difference

    def _in_order(self) -> list[report.Done]:
        order = dict(labelled(self._sweep))
        known = [self.done[label] for label in order if label in self.done]
        return known + [one for label, one in self.done.items() if label not in order]
