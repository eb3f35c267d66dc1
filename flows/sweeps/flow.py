"""The sweep as Prefect sees it: a task for each stage that cells build on, one for each cell, a table at the end."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State

from flows.beside import Place, place
from flows.running.graph import read_graph
from flows.running.housekeeping import noted_flow, only_flow
from flows.running.leases import Leases
from flows.running.record import Record, recorded
from flows.running.tasks import Stages, Threads, concluded
from flows.settings import machine
from flows.sweeps.definition import labelled, read_sweep
from flows.sweeps.job import Jobs
from flows.sweeps.progress import Progress
from flows.sweeps.runners import runner_of
from flows.sweeps.schedule import Schedule
from flows.sweeps.search import search
from lab.params import load
from lab.report.runs import result_runs, view
from runtime.execution.graph import read_recorded
from runtime.execution.work import drop_recorded

TABLE = "table.md"


def _run_name() -> str:
    return f"sweep {flow_run.parameters['name']}"


@flow(name="sweep", flow_run_name=_run_name, task_runner=Threads())
def sweep(
    name: str,
    branch: str | None = None,
    profile: str | None = None,
    overrides: dict[str, Any] | None = None,
) -> State:
    """Runs the cells of a sweep that are missing or failed.

    Args:
        name: of a file in experiments/sweeps, without .yaml.
        branch: a branch, tag or commit that the cells start from, in a workspace of it; the checkout itself without.
        profile: of experiments/profiles, with its overlays, such as quick, in place of params.yaml; goes with branch.
        overrides: values of params.yaml by key, such as {"train.steps": 200}; goes with branch.
    """
    return concluded(lambda: _placed(name, branch, profile, overrides))


def _placed(name: str, *asked: Any) -> State:
    with place(Path.cwd(), f"sweep-{name}", *asked) as at:
        return _sweep(at, name)


def _sweep(at: Place, name: str) -> State:
    root = at.root
    definition, leases, experiment = read_sweep(root, name), Leases(machine(at.home)), load().experiment
    tags = {**at.tags, "flow": "sweep", "sweep": name, "prefect.flow_run_id": str(flow_run.id)}
    with only_flow(root), noted_flow(at.home), recorded(root, experiment, f"sweep {name}", tags) as record:
        progress = Progress(root, name, definition, get_run_logger().info)
        with runner_of(Jobs(root, name, experiment, record.run_id), leases) as runner:
            # Elsewhere others may have made what cells build on.
            stages = Stages(root, read_graph(root), record, leases, ["--pull"] if runner.apart else [])
            schedule = Schedule(definition, runner, stages, progress)
            schedule.run(labelled(definition))
            if definition.search is not None:
                search(root, definition, progress, schedule.run)
        drop_recorded(root, root / ".work")
        at.keep(record)
        if not progress.failed:
            record.register({md5 for _, outs in read_recorded(root).values() for md5 in outs.values()}, at.experiment)
        _conclude(record, progress)
    if progress.failed:
        return Failed(message=f"{', '.join(progress.failed)} failed: {next(iter(progress.failed.values()))}")
    return Completed(message=f"{len(progress.done)} cells.")


def _conclude(record: Record, progress: Progress) -> None:
    results = progress.compared()
    if results is not None:
        scored = [results.of(arm, category) for arm in results.arms for category in results.categories]
        record.metrics({f"{result.arm.name}/{result.category}": result.mean.mean for result in scored})
        for result in result_runs(results, progress.settings):
            record.add_result(**result)
        record.present(f"![Means](artifact:sweep/means.svg)\n\n{(progress.folder / TABLE).read_text()}", view(results))
    record.sum_costs()
    record.artifacts(progress.folder, "sweep")
    failed = f"{', '.join(progress.failed)} failed" if progress.failed else ""
    record.end("FAILED" if progress.failed else "FINISHED", failed)
    table = progress.folder / TABLE
    if table.exists():
        with suppress(httpx.HTTPError):  # the server has died
            create_markdown_artifact(table.read_text(), key="sweep", description="Cells beside the paper's numbers")
