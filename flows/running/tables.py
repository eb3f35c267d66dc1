"""What a flow shows: the plan before it runs, the table of stages after."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from flows.running.graph import CHECK, Graph
from flows.running.record import Record
from flows.running.stages import Stages
from runtime.execution.graph import read_recorded


def plan_table(graph: Graph, names: list[str], changed: Mapping[str, list[str]]) -> str:
    """One line for each stage: whether it would run, and why."""
    touched = graph.touched(changed)
    lines = list(_plan_lines(graph, names, changed, touched))
    width = max(len(stage) for stage, *_ in lines)
    what = max(len(verdict) for _, verdict, _ in lines)
    text = [f"{stage:<{width}}  {verdict:<{what}}  {why}".rstrip() for stage, verdict, why in lines]
    runs = sum(verdict == "runs" for _, verdict, _ in lines)
    perhaps = sum(verdict == "may run" for _, verdict, _ in lines)
    return "\n".join([*text, f"{runs} run, {perhaps} may run, {len(lines) - runs - perhaps} are up to date."])


def _plan_lines(
    graph: Graph, names: list[str], changed: Mapping[str, list[str]], touched: set[str]
) -> Iterator[tuple[str, str, str]]:
    for name in names:
        if name in changed:
            yield name, "runs", "; ".join(changed[name])
        elif name in touched:
            above = [need for need in graph.needs[name] if need in touched and need != CHECK]
            yield name, "may run", f"if the outputs of {', '.join(above)} change"
        else:
            yield name, "up to date", ""


def stage_rows(root: Path, names: list[str], stages: Stages, record: Record) -> list[dict[str, str]]:
    """What became of each stage, in seconds, and the MLflow run that made its output, this flow's or an earlier one."""
    ran, made = record.children(), read_recorded(root)
    rows = []
    for name in names:
        outcome = stages.outcomes.get(name)
        run_id = ran[name].info.run_id if name in ran else _maker(name, made.get(name), record)
        rows.append(
            {
                "stage": name,
                "state": outcome.state.value if outcome else "not run",
                "seconds": f"{outcome.seconds:.1f}" if outcome else "",
                "attempts": str(stages.attempts[name] or ""),
                "run": run_id or "",
                "page": record.page(run_id) if run_id else "",
                "why": outcome.message if outcome else "what it needs failed",
            }
        )
    return rows


def _maker(stage: str, made: tuple[str, Mapping[str, str]] | None, record: Record) -> str | None:
    """The run behind a stage's outputs, by the hash of the first."""
    return record.maker(next(iter(made[1].values())), stage) if made and made[1] else None
