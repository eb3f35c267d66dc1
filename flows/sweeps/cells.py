"""A cell of a sweep: the parameters that it stands for, its name, and the stages that are its own."""

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.running.graph import CHECK, Graph, graph_of
from flows.running.leases import places
from flows.sweeps.definition import Overrides, Sweep
from flows.sweeps.experiments import METRICS
from lab.params import validate
from lab.params.sections import Adapter, Arm
from runtime.errors import StageError
from runtime.execution.graph import overlap, read_recorded, stages_of
from runtime.execution.hashes import Hasher
from runtime.params import ParamsError, read_yaml
from runtime.params.messages import closest, did_you_mean

# A cell's own arm and adapter are called so in its params.yaml.
OWN = "cell"
# What a short name sets: an adapter is trained with the gamma and the threshold that it is used with.
SHORT = {
    "gamma": (f"arms.{OWN}.gamma", f"adapters.{OWN}.gamma"),
    "threshold": (f"arms.{OWN}.threshold", f"adapters.{OWN}.threshold"),
    "guidance": (f"arms.{OWN}.guidance",),
    "adapter_scope": (f"arms.{OWN}.adapter_scope",),
    "rank": (f"adapters.{OWN}.rank", f"adapters.{OWN}.alpha"),
    "limit": ("generate.limit",),
}


@dataclass(frozen=True)
class Cell:
    """One point of a sweep.

    Attributes:
        params: the whole document of its params.yaml.
        arm: the arm that is scored: `cell`, or one that the pipeline has with the same settings.
        stages: what has to run for it beyond the pipeline's own stages, in order.
        shared: the pipeline's stages that it builds on.
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
        if sweep.like not in self.params["arms"]:
            raise StageError(f"The sweep's `like` is {sweep.like!r}, but must be one of `arms` in params.yaml.")

    def cell(self, label: str, overrides: Overrides) -> Cell:
        """The cell with these overrides.

        Raises:
            StageError: an override names an unknown key, or its value is out of range.
        """
        params, arm = self._document(label, overrides)
        graph = graph_of(stages_of(self._pipeline, params))
        needed = [name for name in graph.needs if name in graph.above([f"score@{arm}"])]
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
            shared_metrics=tuple(out for out in made if out.startswith(METRICS)),
            reads=tuple(out for out in made if any(overlap(dep, out) for dep in deps)),
            begins=f"{runs[0].cmd} {sorted(runs[0].params.items())}" if runs else label,
            places=max(map(places, runs), default=1),
            digest=self._digest(graph, own or needed[-1:]),
        )

    def _document(self, label: str, overrides: Overrides) -> tuple[dict, str]:
        params = copy.deepcopy(self.params)
        like = params["arms"][self.sweep.like]
        params["adapters"][OWN] = copy.deepcopy(params["adapters"][like["adapter"]])
        params["arms"][OWN] = {**like, "adapter": OWN}
        for key, value in overrides.items():
            # `arm.gamma` is the arm's alone, `adapter.gamma` the adapter's; anything else is a key of params.yaml.
            for path in SHORT.get(key, (re.sub(r"^(arm|adapter)[.]", rf"\1s.{OWN}.", key),)):
                _set(params, path, value, label)
        adapter = params["adapters"][OWN]
        if adapter.get("rank") == 0:
            params["adapters"][OWN] = adapter = {"rank": 0}
        elif "alpha" in adapter:
            adapter["alpha"] = float(adapter["alpha"])
        # Before names are compared, so that what is refused is what was written.
        try:
            validate(params, f"cell {label}")
        except ParamsError as error:
            raise StageError("\n".join(error.faults)) from None
        params["arms"][OWN]["adapter"] = _adopted(params["adapters"], Adapter)
        return params, _adopted(params["arms"], Arm)

    def _shared(self, graph: Graph, needed: list[str]) -> list[str]:
        """Stages that the pipeline has too, on the same inputs."""
        shared: list[str] = []
        for name in needed:
            same = graph.stages[name] == self._graph.stages.get(name)
            if same and all(need in shared or need == CHECK for need in graph.needs[name]):
                shared.append(name)
        return shared

    def _digest(self, graph: Graph, own: tuple[str, ...]) -> str:
        made = {out for name in own for out in graph.stages[name].outs}
        inputs = [
            [stage.cmd, sorted(stage.params.items()), {dep: self._hash(dep) for dep in stage.deps if dep not in made}]
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


def _set(params: dict, path: str, value: object, label: str) -> None:
    *parents, last = path.split(".")
    section = params
    for parent in parents:
        section = section.get(parent) if isinstance(section, Mapping) else None
    # An adapter of rank 0 says nothing of gamma, and a cell may give it a rank.
    if not isinstance(section, dict) or (last not in section and parents[:1] not in (["adapters"], ["arms"])):
        names = sorted({*SHORT, *_paths(params)})
        hint = did_you_mean(closest(path, names))
        raise StageError(f"Cell {label}: there is no parameter {path!r} in params.yaml{hint}.")
    section[last] = value


def _paths(section: Mapping, prefix: str = "") -> list[str]:
    found = []
    for key, value in section.items():
        found += _paths(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return found


def _adopted(section: dict, model: type) -> str:
    """What the pipeline calls an entry that says the same as the cell's own, which is dropped then; or `cell`."""
    own = model(**section[OWN])
    name = next((name for name, values in section.items() if name != OWN and model(**values) == own), OWN)
    if name != OWN:
        del section[OWN]
    return name
