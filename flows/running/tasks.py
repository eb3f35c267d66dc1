"""The pipeline as Prefect sees it: a flow, a task for each stage, and tables at its end."""

import os
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Crashed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.pipeline import Stages, conclude
from flows.running import repro
from flows.running.graph import chosen, read_graph
from flows.running.housekeeping import noted_flow, only_flow
from flows.running.record import recorded
from lab.params import load

# A task waits in its thread for what it needs; how many stages run at once is decided by `flows.running.leases`.
THREADS = 256


@flow(name="pipeline", task_runner=ThreadPoolTaskRunner(max_workers=THREADS))
def pipeline(targets: list[str] | None = None) -> State:
    """Runs stages of dvc.yaml and all that they need; without `targets`, all of them."""
    root = Path.cwd()
    graph = read_graph(root)
    names = chosen(graph, targets or [])
    experiment = load().tracking.experiment
    with only_flow(root), noted_flow(root), recorded(root, experiment, "pipeline", _tags()) as record:
        stages = Stages(root, graph, record)
        try:
            _run_all(stages, names)
        finally:
            stages.stop.set()
        rows = conclude(root, stages, names, record)
        create_table_artifact(rows, key="stages", description=f"Stages; the flow's MLflow run is {record.id}")
        table = root / "results" / "report" / "table1.md"
        if table.exists():
            create_markdown_artifact(table.read_text(), key="report", description="The report's main table")
    failed = [row["stage"] for row in rows if row["state"] in (repro.State.FAILED, "not run")]
    return Failed(message=f"{', '.join(failed)} failed or could not run.") if failed else Completed(message="Done.")


def _run_all(stages: Stages, names: list[str]) -> None:
    futures = {}
    for name in names:
        needed = [futures[need] for need in stages.graph.needs[name] if need in futures]
        # DVC is the cache, and `flows.running.repro` knows which faults pass.
        named = task(name=name.partition("@")[0], task_run_name=name, cache_policy=NO_CACHE, retries=0)(_run_one)
        futures[name] = named.submit(stages, name, wait_for=needed)
    for future in futures.values():
        future.wait()


def _run_one(stages: Stages, name: str) -> State:
    log = get_run_logger()
    outcome = stages.run(name, log.info)
    if outcome.state is repro.State.FAILED:
        return Failed(message=outcome.message)
    if outcome.state is repro.State.STOPPED:
        return Crashed(message="The flow was stopped.")
    names = {repro.State.CACHED: "Cached", repro.State.RESTORED: "Restored", repro.State.RAN: "Completed"}
    return Completed(name=names[outcome.state], message=f"{outcome.seconds:.1f} s")


def _tags() -> dict[str, str]:
    return {"flow": "pipeline", "prefect.flow_run_id": str(flow_run.id), "host.pid": str(os.getpid())}
