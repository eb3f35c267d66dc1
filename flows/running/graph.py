"""The graph that DVC sees in dvc.yaml: which stage needs which, what is out of date, and the plan of a flow."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from flows.running.repository import dvc
from runtime.errors import StageError
from runtime.execution.graph import Stage, overlap, read_recorded, read_stages

# Reads all of params.yaml, and everything needs it; but what it writes is always the same (see `stages.check`).
CHECK = "check"


@dataclass(frozen=True)
class Graph:
    """Stages in an order in which they can run, each with the names of those that it reads from."""

    stages: Mapping[str, Stage]
    needs: Mapping[str, tuple[str, ...]]

    def touched(self, names: Iterable[str]) -> set[str]:
        """`names` and all whose inputs may change when these run."""
        found = set(names)
        for name, needed in self.needs.items():
            if found.intersection(needed) - {CHECK}:
                found.add(name)
        return found

    def above(self, names: Iterable[str]) -> set[str]:
        """`names` and all that they need, directly or not."""
        found = set(names)
        for name in reversed(list(self.needs)):
            if name in found:
                found.update(self.needs[name])
        return found


def read_graph(root: Path) -> Graph:
    """The graph of the pipeline in `root`.

    Raises:
        StageError: dvc.yaml and params.yaml do not fit together, or stages need each other.
    """
    return graph_of(read_stages(root))


def graph_of(stages: Mapping[str, Stage]) -> Graph:
    """The graph of these stages."""
    made_by = {out: name for name, stage in stages.items() for out in stage.outs}
    needs = {
        name: tuple(
            dict.fromkeys(
                made_by[out] for dep in stage.deps for out in made_by if overlap(dep, out) and made_by[out] != name
            )
        )
        for name, stage in stages.items()
    }
    return Graph(stages, {name: needs[name] for name in _ordered(needs)})


def chosen(graph: Graph, targets: Iterable[str]) -> list[str]:
    """The stages of `targets` and all that they need, in order; all stages without targets.

    Raises:
        StageError: a target is no stage.
    """
    meant: list[str] = []
    for target in targets:
        # `train` stands for `train@a`, `train@b`, ...
        found = [name for name in graph.stages if target in (name, name.partition("@")[0])]
        if not found:
            raise StageError(f"dvc.yaml has no stage {target!r}; its stages are {', '.join(graph.stages)}.")
        meant += found
    wanted = graph.above(meant or graph.stages)
    return [name for name in graph.needs if name in wanted]


def changed(root: Path, names: Iterable[str] = ()) -> dict[str, list[str]]:
    """For each stage that DVC finds out of date, why: what DVC says of its inputs and outputs.

    Args:
        names: the stages that are looked at; all without.

    Raises:
        StageError: dvc.lock is faulty, or `dvc status` fails.
    """
    read_recorded(root)  # says more of a faulty lock than DVC
    table = next(line for line in dvc(root, "status", "--json", *names) if line.startswith("{"))
    return {
        name: [reason for entry in entries for reason in _reasons(entry)] for name, entries in json.loads(table).items()
    }


def plan_table(graph: Graph, names: list[str], changed: Mapping[str, list[str]]) -> str:
    """One line for each stage: whether it would run, and why."""
    touched = graph.touched(changed)
    plan = {name: "runs" if name in changed else "may run" if name in touched else "up to date" for name in names}
    width, numbers = max(map(len, names)), Counter(plan.values())
    lines = [
        f"{name:<{width}}  {verdict:<10}  {_why(graph, name, changed, touched)}".rstrip()
        for name, verdict in plan.items()
    ]
    sums = f"{numbers['runs']} run, {numbers['may run']} may run, {numbers['up to date']} are up to date."
    return "\n".join([*lines, sums])


def _reasons(entry: str | Mapping) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [
        f"{what.removeprefix('changed ')} {path}: {state if isinstance(state, str) else ', '.join(state)}"
        for what, paths in entry.items()
        for path, state in paths.items()
    ]


def _ordered(needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise StageError(f"These stages of dvc.yaml need each other: {', '.join(error.args[1][1:])}.") from None


def _why(graph: Graph, name: str, changed: Mapping[str, list[str]], touched: set[str]) -> str:
    if name in changed:
        return "; ".join(changed[name])
    above = [need for need in graph.needs[name] if need in touched and need != CHECK]
    return f"if the outputs of {', '.join(above)} change" if above else ""
