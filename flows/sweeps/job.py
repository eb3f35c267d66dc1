"""What runs a cell has to know of it, on this machine or on another: data alone, as JSON can say it."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.sweeps import experiments
from flows.sweeps.cells import Cell, Planner, is_finished
from flows.sweeps.definition import earlier_rungs
from lab.params.variation import OWN
from runtime.execution.graph import read_stages
from runtime.tracking.git import git
from runtime.tracking.tree import DIFF, keep_tree, settled

# An entry of dvc.lock as DVC writes it: text, since what YAML reads and writes again is not always the same.
ENTRY = re.compile(r"^  (\S[^\n]*):\n(?:    .*\n)+", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """One cell to run.

    Attributes:
        commit: what the sweep starts from.
        diff: the edits that differ from it, as git takes them, in base64.
        lock: dvc.lock with the entries of the stages that the cell builds on, and of those that it leaves untouched.
        metrics: texts of their metrics, by path.
        earlier: whether `lock` has images of the same cell with fewer prompts too, to be taken over.
        experiment: MLflow's, where the cell's run stands under `parent`, that of the sweep.
    """

    cell: Cell
    sweep: str
    commit: str
    diff: str
    lock: str
    metrics: Mapping[str, str]
    earlier: bool
    experiment: str
    parent: str

    @property
    def name(self) -> str:
        """Of the experiment."""
        return f"{self.sweep}-{self.cell.name}"


class Jobs:
    """Makes jobs of the cells of one sweep in the repository at `root`, whose edits are those of now."""

    def __init__(self, root: Path, sweep: str, experiment: str, parent: str):
        self.root, self.sweep, self.commit = root, sweep, experiments.head(root)
        self._experiment, self._parent = experiment, parent
        outs = [out for stage in read_stages(root).values() for out in stage.outs]
        with TemporaryDirectory() as kept:
            keep_tree(root, [*outs, "params.yaml"], Path(kept))
            diff = Path(kept, DIFF)
            self._diff = base64.b64encode(diff.read_bytes() if diff.exists() else b"").decode()

    def job(self, cell: Cell, planner: Planner) -> Job:
        """The job of a cell whose shared stages are up to date."""
        recorded = _entries(settled(self.root / "dvc.lock").decode()) if (self.root / "dvc.lock").exists() else {}
        images = self._earlier_images(cell, planner)
        kept = [*cell.shared, *(name for name in cell.untouched if name in recorded)]
        entries = "".join([*(recorded[name] for name in kept), images])
        return Job(
            cell=cell,
            sweep=self.sweep,
            commit=self.commit,
            diff=self._diff,
            lock=f"schema: '2.0'\nstages:\n{entries}" if entries else "schema: '2.0'\nstages: {}\n",
            metrics={path: (self.root / path).read_text() for path in cell.shared_metrics},
            earlier=bool(images),
            experiment=self._experiment,
            parent=self._parent,
        )

    def _earlier_images(self, cell: Cell, planner: Planner) -> str:
        """The entry in dvc.lock of the images of the last rung that is finished and not out of date; or nothing."""
        rungs = earlier_rungs(planner.sweep, cell.overrides)
        known = experiments.finished(self.root, self.commit) if rungs else {}
        for overrides in rungs:
            earlier = planner.cell(cell.label, overrides)
            if earlier.arm == OWN and is_finished(earlier, self.sweep, known):
                commit, _ = known[f"{self.sweep}-{earlier.name}"]
                return _entries(git(self.root, "show", f"{commit}:dvc.lock") + "\n")[f"generate@{OWN}"]
        return ""


def _entries(lock: str) -> dict[str, str]:
    return {found[1]: found[0] for found in ENTRY.finditer(lock)}
