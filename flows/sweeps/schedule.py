"""Which cell starts when: as soon as the pipeline's stages that it builds on are up to date and a place is free."""

from collections.abc import Iterable
from queue import SimpleQueue

from prefect.futures import PrefectFuture

from flows.running.tasks import Stages, submitted
from flows.sweeps import experiments
from flows.sweeps.cells import Cell, Planner, is_finished
from flows.sweeps.definition import Overrides, Sweep
from flows.sweeps.progress import Progress
from flows.sweeps.runners import Here


class Schedule:
    """Runs cells of one sweep, and first what they build on, in this workspace."""

    def __init__(self, sweep: Sweep, runner: Here, stages: Stages, progress: Progress):
        self._sweep, self._runner, self._stages, self._progress = sweep, runner, stages, progress
        self._jobs = runner.jobs
        self._made: set[str] = set()  # stages of the pipeline that this sweep has brought up to date
        self._ended: SimpleQueue[PrefectFuture] = SimpleQueue()

    def run(self, wanted: Iterable[tuple[str, Overrides]]) -> None:
        """Runs those of the cells, by label, that are not finished."""
        planner = Planner(self._jobs.root, self._sweep)
        self._waiting = [planner.cell(label, overrides) for label, overrides in wanted]
        self._ready: list[Cell] = []
        self._cells: dict[PrefectFuture, Cell] = {}
        self._begun = self._begin_stages()
        self._admit()
        while self._begun or self._cells:
            future = self._ended.get()
            future.wait()
            if future in self._begun:
                self._take_stage(self._begun.pop(future), future)
            else:
                self._take_cell(self._cells.pop(future), future)
            self._admit()

    def _begin_stages(self) -> dict[PrefectFuture, str]:
        needed = {name for cell in self._waiting for name in cell.shared} - self._made
        stale = [name for name in self._stages.graph.needs if name in needed and not self._stages.is_unchanged(name)]
        begun = {future: name for name, future in submitted(self._stages, stale).items()}
        for future in begun:
            future.add_done_callback(self._ended.put)
        return begun

    def _admit(self) -> None:
        """Starts what can start, and says how far the sweep is."""
        awaited = set(self._begun.values())
        free = [cell for cell in self._waiting if awaited.isdisjoint(cell.shared)]
        self._waiting = [cell for cell in self._waiting if not awaited.isdisjoint(cell.shared)]
        if free:
            self._plan(free)
        self._start()
        left = len(self._waiting) + len(self._ready) + len(self._cells)
        self._progress.show(left=left, running=len(self._cells))

    def _plan(self, cells: list[Cell]) -> None:
        """Takes in those that are finished; the others are ready. Only now are all inputs known."""
        self._planner = Planner(self._jobs.root, self._sweep)
        known = experiments.finished(self._jobs.root, self._jobs.commit)
        cells = [self._planner.cell(cell.label, cell.overrides) for cell in cells]
        for cell in cells:
            if is_finished(cell, self._jobs.sweep, known):
                self._take(cell, known[f"{self._jobs.sweep}-{cell.name}"][0], ran=False)
            else:
                self._ready.append(cell)
        self._runner.send(name for cell in self._ready for name in cell.shared)

    def _start(self) -> None:
        for cell in list(self._ready):
            if len(self._cells) >= self._runner.places:
                return
            # What begins alike, with a training say, would do that twice on machines that do not see each other.
            if self._runner.apart and cell.begins in {other.begins for other in self._cells.values()}:
                continue
            self._ready.remove(cell)
            future = self._runner.submit(cell, self._jobs.job(cell, self._planner))
            self._cells[future] = cell
            future.add_done_callback(self._ended.put)

    def _take_stage(self, name: str, future: PrefectFuture) -> None:
        if future.state.is_completed():
            self._made.add(name)
            return
        for cell in [cell for cell in self._waiting if name in cell.shared]:
            self._waiting.remove(cell)
            self._progress.failed[cell.label] = f"{name}, which it builds on, failed: {future.state.message}"

    def _take_cell(self, cell: Cell, future: PrefectFuture) -> None:
        if future.state.is_completed():
            self._take(cell, future.state.message)
        else:
            self._progress.failed[cell.label] = future.state.message or "it failed"

    def _take(self, cell: Cell, commit: str, ran: bool = True) -> None:
        self._runner.fetch(cell, commit)
        self._progress.finished(cell, commit, ran)
