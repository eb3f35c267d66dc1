"""A cell of a sweep: the parameters that it stands for, its name, and the stages that are its own."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.running.graph import CHECK, Graph, graph_of
from flows.running.leases import places
from flows.sweeps.definition import Overrides, Sweep
from flows.sweeps.experiments import METRICS
from lab.params.variation import varied
from runtime.execution.graph import Stage, overlap, read_recorded, stages_of
from runtime.execution.hashes import Hasher
from runtime.params import read_yaml


@dataclass(frozen=True)
class Cell:
    """One point of a sweep.

    Attributes:
        params: the whole document of its params.yaml.
        arm: the arm that is scored: `cell`, or one that the pipeline has with the same settings.
        stages: what has to run for it beyond the pipeline's own stages, in order, to its report.
        shared: the pipeline's stages that it builds on.
        untouched: stages that it does not need and its parameters leave as they are.
        shared_metrics: metrics files of these.
        reads: outputs of these that its own stages read.
        begins: what the first of its own stages, a training mostly, runs with; cells may begin alike.
        places: threads of its stages.
        digest: stands for everything that its own stages read; a finished experiment with another one is out of date.
    """

    label: str
    overrides: Overrides
    params: dict
    arm: str
    stages: tuple[str, ...]
    shared: tuple[str, ...]
    untouched: tuple[str, ...]
    shared_metrics: tuple[str, ...]
    reads: tuple[str, ...]
    begins: str
    places: int
    digest: str

    @property
    def name(self) -> str:
        """Its label, as git takes it in a name, and eight hex digits of its overrides."""
        text = json.dumps(self.overrides, sort_keys=True)
        short = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]
        # A dot before a digit is well everywhere; `..`, `.lock` and one at the end are not.
        return f"{re.sub(r'[.](?![0-9])', '-', self.label)}-{short}"


def is_finished(cell: Cell, sweep: str, known: Mapping[str, tuple[str, str]]) -> bool:
    """Whether the cell's experiment is there and was made from what the workspace has now."""
    return known.get(f"{sweep}-{cell.name}", ("", ""))[1] == cell.digest


class Planner:
    """Makes cells of overrides, in the workspace at `root`."""

    def __init__(self, root: Path, sweep: Sweep):
        self.sweep = sweep
        self.params = read_yaml(root / "params.yaml")
        self._pipeline = read_yaml(root / "dvc.yaml")
        self._graph = graph_of(stages_of(self._pipeline, self.params))
        self._recorded = read_recorded(root)
        self._hasher, self._hashes = Hasher(root), {}  # md5 by path

    def cell(self, label: str, overrides: Overrides) -> Cell:
        """The cell with these overrides.

        Raises:
            LabError: an override names an unknown key, or its value is out of range.
        """
        params, arm = varied(self.params, self.sweep.like, overrides, f"cell {label}")
        graph = graph_of(stages_of(self._pipeline, params))
        wanted = graph.above(graph.touched([f"score@{arm}"]))
        needed = [name for name in graph.needs if name in wanted]
        shared = self._shared(graph, needed)
        own = tuple(name for name in needed if name not in shared and name != CHECK)
        runs = [graph.stages[name] for name in own]
        deps = [dep for stage in runs for dep in stage.deps]
        made = [out for name in shared for out in graph.stages[name].outs]
        return Cell(
            label=label,
            overrides=overrides,
            params=params,
            arm=arm,
            stages=own,
            shared=tuple(shared),
            untouched=tuple(name for name in self._shared(graph, graph.needs) if name not in wanted),
            shared_metrics=tuple(out for out in made if out.startswith(METRICS)),
            reads=tuple(out for out in made if any(overlap(dep, out) for dep in deps)),
            begins=f"{runs[0].cmd} {sorted(runs[0].params.items())}" if runs else label,
            places=max(map(places, runs), default=1),
            digest=self._digest(graph, own or needed[-1:]),
        )

    def _shared(self, graph: Graph, needed: Iterable[str]) -> list[str]:
        """Stages that the pipeline has too, on the same inputs."""
        shared: list[str] = []
        for name in needed:
            same = graph.stages[name] == self._graph.stages.get(name)
            if same and all(need in shared or need == CHECK for need in graph.needs[name]):
                shared.append(name)
        return shared

    def _digest(self, graph: Graph, own: tuple[str, ...]) -> str:
        made = {out for name in own for out in graph.stages[name].outs}
        outs = [out for name in graph.above(own) for out in graph.stages[name].outs]

        def read(stage: Stage) -> set[str]:
            """What it reads and the cell does not make; of a folder that several stages fill, what those above fill."""
            return {path for dep in stage.deps for path in [out for out in outs if overlap(dep, out)] or [dep]} - made

        inputs = [
            [stage.cmd, sorted(stage.params.items()), {path: self._hash(path) for path in sorted(read(stage))}]
            for stage in (graph.stages[name] for name in own)
        ]
        text = json.dumps(inputs, sort_keys=True, default=str)
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:16]

    def _hash(self, dep: str) -> str:
        """Of a file or folder of the workspace; of what a shared stage makes, as dvc.lock has it."""
        if dep not in self._hashes:
            recorded = (outs[dep] for _, outs in self._recorded.values() if dep in outs)
            # None of what a shared stage has not made yet: the cell is planned again when it has.
            there = (self._hasher.root / dep).exists()
            self._hashes[dep] = next(recorded, None) or (self._hasher(dep).md5 if there else None)
        return self._hashes[dep]
