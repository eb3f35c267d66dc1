"""What runs a cell has to know of it, on this machine or on another: data alone, as JSON can say it."""

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ruamel.yaml import YAML

from flows.sweeps import experiments
from flows.sweeps.cells import OWN, Cell, Planner, is_finished
from flows.sweeps.definition import earlier_rungs
from runtime.execution.graph import read_stages
from runtime.tracking.tree import DIFF, keep_tree, settled

IMAGES = f"results/images/{OWN}"
# An entry of dvc.lock as DVC writes it: text, since what YAML reads and writes again is not always the same.
ENTRY = re.compile(r"^  (\S[^\n]*):\n(?:    .*\n)+", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """One cell to run.

    Attributes:
        name: of its experiment.
        run_name: of its MLflow run.
        commit: what the sweep starts from.
        diff: the edits that differ from it, as git takes them, in base64.
        files: texts by path that its workspace has in place of the commit's: params.yaml, dvc.lock with the entries of
            the stages that it builds on, and their metrics.
        inputs: outputs of these that it reads.
        earlier: whether dvc.lock has images of the same cell with fewer prompts, to be taken over.
        stages: its own, in order.
        experiment: MLflow's, where its run stands under `parent`, that of the sweep.
    """

    name: str
    run_name: str
    label: str
    overrides: dict
    digest: str
    commit: str
    diff: str
    files: dict[str, str]
    inputs: list[str]
    earlier: bool
    stages: list[str]
    experiment: str
    parent: str
    tags: dict[str, str]


class Jobs:
    """Makes jobs of the cells of one sweep in the repository at `root`, whose edits are those of now."""

    def __init__(self, root: Path, name: str, experiment: str, parent: str):
        self.root, self.name, self.commit = root, name, experiments.head(root)
        self._experiment, self._parent = experiment, parent
        outs = [out for stage in read_stages(root).values() for out in stage.outs]
        with TemporaryDirectory() as kept:
            keep_tree(root, [*outs, "params.yaml"], Path(kept))
            diff = Path(kept, DIFF)
            self._diff = base64.b64encode(diff.read_bytes() if diff.exists() else b"").decode()

    def job(self, cell: Cell, planner: Planner) -> Job:
        """The job of a cell whose shared stages are up to date."""
        recorded = _entries(settled(self.root / "dvc.lock").decode())
        images = self._earlier_images(cell, planner)
        lock = "".join([*(recorded[name] for name in cell.shared), images])
        files = {path: (self.root / path).read_text() for path in cell.shared_metrics}
        return Job(
            name=f"{self.name}-{cell.name}",
            run_name=cell.name,
            label=cell.label,
            overrides=cell.overrides,
            digest=cell.digest,
            commit=self.commit,
            diff=self._diff,
            files={**files, "params.yaml": _text(cell.params), "dvc.lock": f"schema: '2.0'\nstages:\n{lock}"},
            inputs=[*cell.reads, *([IMAGES] if images else [])],
            earlier=bool(images),
            stages=list(cell.stages),
            experiment=self._experiment,
            parent=self._parent,
            tags={"flow": "cell", "sweep": self.name, "cell": cell.name, "cell.label": cell.label},
        )

    def _earlier_images(self, cell: Cell, planner: Planner) -> str:
        """The entry in dvc.lock of the images of the last rung that is finished and not out of date; or nothing."""
        known = experiments.finished(self.root, self.commit)
        for overrides in earlier_rungs(planner.sweep, cell.overrides):
            earlier = planner.cell(cell.label, overrides)
            if earlier.arm == OWN and is_finished(earlier, self.name, known):
                commit, _ = known[f"{self.name}-{earlier.name}"]
                return _entries(experiments.git(self.root, "show", f"{commit}:dvc.lock") + "\n")[f"generate@{OWN}"]
        return ""


def _entries(lock: str) -> dict[str, str]:
    return {found[1]: found[0] for found in ENTRY.finditer(lock)}


def _text(document: Mapping) -> str:
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(document, text)
    return text.getvalue()
