"""The sweep as Prefect sees it: the shared stages first, then a task for each cell."""

import time
from collections.abc import Callable
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from compbench.statistics import Interval
from flows.pipeline import Stages
from flows.running.graph import read_graph
from flows.running.housekeeping import noted_flow, only_flow
from flows.running.record import Record, recorded
from flows.running.repro import State as StageState
from flows.sweep import is_finished, source
from flows.sweeps import experiments
from flows.sweeps import report as sweep_report
from flows.sweeps.cells import Cell, Planner
from flows.sweeps.definition import Sweep, labelled, read_sweep
from flows.sweeps.runners import runner_of
from lab.params import load
from runtime.errors import StageError
from runtime.params import read_yaml


class Progress:
    """What has become of a sweep's cells; told to the log and written to its page as it changes."""

    def __init__(self, root: Path, name: str, sweep: Sweep, record: Record, say: Callable[[str], None]):
        self.done: dict[str, sweep_report.Done] = {}
        self.partial: dict[tuple[str, int], sweep_report.Done] = {}  # of rungs, by their number of prompts
        self.failed: dict[str, str] = {}
        self.pruned: dict[str, str] = {}
        self.folder = root / sweep_report.FOLDER / name
        self._root, self._name, self._sweep, self._record, self._say = root, name, sweep, record, say
        self._report = read_yaml(root / "params.yaml")["report"]
        self._began, self._ran = time.monotonic(), 0

    def finished(self, cell: Cell, commit: str, ran: bool = True) -> None:
        """Takes in the scores of a cell; `ran` says that it ran just now."""
        found, limit = sweep_report.done(self._root, cell, commit), cell.overrides.get("limit")
        if limit is None:
            self.done[cell.label] = found
        else:
            self.partial[cell.label, limit] = found
        self._ran += ran

    def show(self, left: int, running: int) -> None:
        """Writes the page and says how far the sweep is."""
        notes = [f"{label}: {why}" for label, why in {**self.failed, **self.pruned}.items()]
        sweep_report.write(self._root, self._name, self._sweep, self._in_order(), notes, self._report)
        seconds = (time.monotonic() - self._began) / self._ran * left if self._ran else None
        ahead = f", about {seconds / 60:.0f} min left" if seconds and left else ""
        self._say(f"{len(self.done)} cells done, {running} running, {len(self.failed)} failed, {left} to go{ahead}.")

    def compared(self):
        """Paired differences of the finished cells, or None."""
        return sweep_report.compared(self._sweep, self._in_order(), self._report)

    def difference(self, label: str, limit: int | None, category: str) -> Interval | None:
        """The cell's difference to the compared one, each with so many prompts; None when one of them has failed.

        Raises:
            StageError: the category was not scored.
        """
        names = (self._sweep.compare_with, label)
        pair = [self.done.get(name) if limit is None else self.partial.get((name, limit)) for name in names]
        if None in pair:
            return None
        results = sweep_report.compared(self._sweep, pair, self._report)
        if category not in results.categories:
            raise StageError(
                f"The search's `objective` is {category!r}, but must be one of {', '.join(results.categories)}."
            )
        return results.of(results.compared[0], category).difference

    def _in_order(self) -> list[sweep_report.Done]:
        order = [label for label, _ in labelled(self._sweep)]
        known = [self.done[label] for label in order if label in self.done]
        return known + [one for label, one in self.done.items() if label not in order]


@flow(name="sweep", task_runner=ThreadPoolTaskRunner(max_workers=64))
def sweep(name: str) -> State:
    """Runs the cells of a sweep that are missing or failed."""
    root, log = Path.cwd(), get_run_logger()
    definition, params = read_sweep(root, name), load()
    tags = {"flow": "sweep", "sweep": name, "prefect.flow_run_id": str(flow_run.id)}
    with only_flow(root), noted_flow(root), recorded(root, params.tracking.experiment, f"sweep {name}", tags) as record:
        progress = Progress(root, name, definition, record, log.info)
        start = source(root, root / ".work" / "sweeps" / name)
        with runner_of(root, name, start, params) as runner:
            _run(root, name, definition, runner, record, progress)
        _conclude(record, progress)
    if progress.failed:
        return Failed(message=f"{', '.join(progress.failed)} failed: {next(iter(progress.failed.values()))}")
    return Completed(message=f"{len(progress.done)} cells.")


def _run(root: Path, name: str, definition: Sweep, runner, record: Record, progress: Progress) -> None:
    planner = Planner(root, definition)
    cells = [planner.cell(label, overrides) for label, overrides in labelled(definition)]
    cells = _after_shared(root, cells, definition, record, runner)
    run_cells(root, name, cells, runner, record, progress)
    if definition.search is not None:
        from flows.sweeps.search import search

        def run(drawn: list[Cell]) -> None:
            run_cells(root, name, drawn, runner, record, progress)

        search(definition, Planner(root, definition), progress, run)
        progress.show(left=0, running=0)


def run_cells(root: Path, name: str, cells: list[Cell], runner, record: Record, progress: Progress) -> None:
    """Runs those of the cells that are not finished, on a runner of `flows.sweeps.runners`."""
    known = experiments.finished(root, runner.commit)
    missing = []
    for cell in cells:
        if is_finished(cell, name, known):
            commit = known[f"{name}-{cell.name}"][0]
            runner.fetch_scores(cell, commit)
            progress.finished(cell, commit, ran=False)
        else:
            missing.append(cell)
    left = len(missing)
    progress.show(left=left, running=min(runner.places, left))
    if not missing:
        return
    runner.send(missing)
    for wave in runner.waves(missing):
        futures: dict[PrefectFuture, Cell] = {runner.submit(cell, record.id): cell for cell in wave}
        for future in as_completed(list(futures)):
            _take(runner, futures[future], future, progress)
            left -= 1
            progress.show(left=left, running=min(runner.places, left))


def _take(runner, cell: Cell, future: PrefectFuture, progress: Progress) -> None:
    future.wait()
    if future.state.is_completed():
        runner.fetch(cell)
        runner.fetch_scores(cell, future.state.message)
        progress.finished(cell, future.state.message)
    else:
        progress.failed[cell.label] = future.state.message or "it failed"


def _after_shared(root: Path, cells: list[Cell], definition: Sweep, record: Record, runner) -> list[Cell]:
    """The cells again, after the pipeline's stages that they build on are up to date.

    Raises:
        StageError: one of these failed.
    """
    graph = read_graph(root)
    needed = {stage for cell in cells for stage in cell.shared}
    stages = Stages(root, graph, record)
    stages.stop = runner.stop
    stale = [name for name in graph.needs if name in needed and not stages.is_unchanged(name)]
    for name in stale:
        runner.restore(name)
        run_stage = task(name=name.partition("@")[0], task_run_name=name, cache_policy=NO_CACHE)(_run_shared)
        outcome = run_stage(stages, name)
        if outcome is not None:
            raise StageError(f"{name}, which cells build on, failed: {outcome}")
    if not stale:
        return cells
    planner = Planner(root, definition)
    return [planner.cell(cell.label, cell.overrides) for cell in cells]


def _run_shared(stages: Stages, name: str) -> str | None:
    outcome = stages.run(name, get_run_logger().info)
    return None if outcome.state in (StageState.RAN, StageState.CACHED, StageState.RESTORED) else outcome.message


def _conclude(record: Record, progress: Progress) -> None:
    results = progress.compared()
    if results is not None:
        for arm in results.arms:
            values = {f"{arm.name}/{category}": results.of(arm, category).mean.mean for category in results.categories}
            record.metrics(values)
    record.sum_costs()
    record.artifacts(progress.folder, "sweep")
    table = progress.folder / "table.md"
    if table.exists():
        create_markdown_artifact(table.read_text(), key="sweep", description="Cells beside the paper's numbers")
    failed = f"{', '.join(progress.failed)} failed" if progress.failed else ""
    record.end("FAILED" if progress.failed else "FINISHED", failed)
