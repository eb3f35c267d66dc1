"""The pipeline as Prefect sees it: a flow, a task for each stage, and tables at its end."""

import os
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State

from flows.running.graph import chosen, read_graph
from flows.running.housekeeping import noted_flow, only_flow
from flows.running.leases import Leases
from flows.running.record import recorded
from flows.running.stages import Stages
from flows.running.tables import stage_rows
from flows.running.tasks import Threads, submitted
from flows.settings import machine
from lab.params import load


def _run_name() -> str:
    return " ".join(["pipeline", *(flow_run.parameters["targets"] or [])])


@flow(name="pipeline", flow_run_name=_run_name, task_runner=Threads())
def pipeline(targets: list[str] | None = None) -> State:
    """Runs stages of dvc.yaml and all that they need; without `targets`, all of them."""
    root = Path.cwd()
    graph, leases, experiment = read_graph(root), Leases(machine(root)), load().experiment
    names = chosen(graph, targets or [])
    tags = {"flow": "pipeline", "prefect.flow_run_id": str(flow_run.id), "host.pid": str(os.getpid())}
    with only_flow(root), noted_flow(root), recorded(root, experiment, "pipeline", tags) as record:
        stages = Stages(root, graph, record, leases)
        try:
            for future in submitted(stages, names).values():
                future.wait()
        finally:
            leases.stop.set()
        rows = stage_rows(root, names, stages, record)
        record.tag({f"stage.{row['stage']}": row["state"] for row in rows})
        record.tag({f"stage.{row['stage']}.run_id": row["run"] for row in rows})
        record.sum_costs()
        failed = [row["stage"] for row in rows if row["state"] in ("failed", "not run")]
        message = f"{', '.join(failed)} failed or could not run." if failed else ""
        record.end("FAILED" if failed else "FINISHED", message)
        create_table_artifact(rows, key="stages", description=f"Stages; the flow's MLflow run is {record.id}")
        table = root / "results" / "report" / "table1.md"
        if table.exists():
            create_markdown_artifact(table.read_text(), key="report", description="The report's main table")
    return Failed(message=message) if failed else Completed(message="Done.")
