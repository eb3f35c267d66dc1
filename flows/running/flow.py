"""The pipeline as Prefect sees it: a flow, a task for each stage, and tables at its end."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State

from flows.beside import Place, place
from flows.running.graph import Graph, chosen, read_graph
from flows.running.housekeeping import noted_flow, only_flow
from flows.running.leases import Leases
from flows.running.preflight import preflight
from flows.running.record import Record, recorded
from flows.running.tasks import Stages, Threads, concluded, submitted
from flows.settings import machine
from lab.params import load
from runtime.execution.graph import read_recorded


def _run_name() -> str:
    return " ".join(["pipeline", *(flow_run.parameters.get("targets") or [])])


@flow(name="pipeline", flow_run_name=_run_name, task_runner=Threads())
def pipeline(
    targets: list[str] | None = None,
    branch: str | None = None,
    profile: str | None = None,
    overrides: dict[str, Any] | None = None,
) -> State:
    """Runs stages of dvc.yaml and all that they need.

    Args:
        targets: the stages, such as score@baseline; all without.
        branch: a branch, tag or commit, whose workspace the flow makes and works in; the checkout itself without.
        profile: of experiments/profiles, with its overlays, such as quick, in place of params.yaml; goes with branch.
        overrides: values of params.yaml by key, such as {"train.steps": 200}; goes with branch.
    """
    return concluded(lambda: _pipeline(targets or [], branch, profile, overrides))


def _pipeline(targets: list[str], *asked: Any) -> State:
    with place(Path.cwd(), "pipeline", *asked) as at:
        graph = read_graph(at.root)
        names = chosen(graph, targets)
        with only_flow(at.root), noted_flow(at.home):
            lacking = preflight(at.root, names)
            return Failed(message=lacking) if lacking else _run(at, graph, names)


def _run(at: Place, graph: Graph, names: list[str]) -> State:
    root, leases, experiment = at.root, Leases(machine(at.home)), load().experiment
    tags = {**at.tags, "flow": "pipeline", "prefect.flow_run_id": str(flow_run.id), "host.pid": str(os.getpid())}
    with recorded(root, experiment, "pipeline", tags) as record:
        stages = Stages(root, graph, record, leases)
        try:
            for future in submitted(stages, names).values():
                future.wait()
        finally:
            leases.stop.set()
        rows = _rows(root, names, stages, record)
        for row in rows:
            record.tag({f"stage.{row['stage']}": row["state"], f"stage.{row['stage']}.run_id": row["run"]})
        record.sum_costs()
        record.adopt_description()
        failed = [row["stage"] for row in rows if row["state"] in ("failed", "not run")]
        message = f"{', '.join(failed)} failed or could not run." if failed else ""
        if not failed:
            at.keep(record)
            record.register({md5 for _, outs in read_recorded(root).values() for md5 in outs.values()}, at.experiment)
        record.end("FAILED" if failed else "FINISHED", message)
        table = root / "results" / "report" / "table1.md"
        with suppress(httpx.HTTPError):  # the server has died
            create_table_artifact(rows, key="stages", description=f"Stages; the flow's MLflow run is {record.run_id}")
            if table.exists():
                create_markdown_artifact(table.read_text(), key="report", description="The report's main table")
    return Failed(message=message) if failed else Completed(message="Done.")


def _rows(root: Path, names: list[str], stages: Stages, record: Record) -> list[dict[str, str]]:
    """What became of each stage, in seconds, and the MLflow run that made its output, this flow's or an earlier one."""
    ran, made = record.stage_runs(), read_recorded(root)
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
