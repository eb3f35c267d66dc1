"""Cells that are drawn: by chance, or by Optuna from what earlier cells scored, the hopeless ones dropped early.

A rung is the same cell with more prompts of each category; it takes over the images of the rung before. After a rung
that is not the last, a cell is dropped when even the upper bound of its paired difference to the compared cell lies
below the best lower bound so far: not when its mean is lower, which with few prompts says little.
"""

import random
from collections.abc import Callable, Iterator

from compbench.statistics import Interval
from flows.sweeps.cells import Cell, Planner
from flows.sweeps.definition import Overrides, Search, Sweep, labelled
from runtime.errors import StageError

RunCells = Callable[[list[Cell]], None]
DIGITS = 3  # of drawn values: what is drawn is what is written and read


def search(sweep: Sweep, planner: Planner, progress, run: RunCells) -> None:
    """Draws and runs the cells of the sweep's search.

    Args:
        progress: `flows.sweeps.flow.Progress`, which takes in finished, failed and pruned cells.
        run: runs cells.

    Raises:
        StageError: a rung cannot take over the images of the one before.
    """
    found = sweep.search
    check_rungs(found, planner.params)
    if found.method == "random":
        run([planner.cell(_label(values), values) for values in _random(found)])
    else:
        _optuna(sweep, found, planner, progress, run)


def check_rungs(search: Search, params: dict) -> None:
    """Makes sure that rungs share whole batches: an image depends, by rounding, on its place in its batch.

    Raises:
        StageError: they do not, or do not grow.
    """
    images, batch = params["generate"]["images_per_prompt"], params["generate"]["batch_size"]
    whole = params["prompts"]["per_category"]
    if any(later <= earlier for earlier, later in zip(search.rungs, search.rungs[1:], strict=False)):
        raise StageError(f"The search's `rungs` are {search.rungs}, but must grow.")
    for rung in [*search.rungs, whole] if search.rungs else []:
        if rung * images % batch or rung > whole:
            raise StageError(
                f"A rung of {rung} prompts ({images} image each) is no whole number of batches of {batch}, or more "
                f"than the {whole} prompts there are: change `rungs`, `generate.batch_size` or `prompts.per_category`."
            )


def hopeless(differences: dict[str, Interval], label: str) -> bool:
    """Whether a cell's interval lies below another one's, or below 0, the compared cell itself."""
    best = max([0.0, *(found.low for other, found in differences.items() if other != label)])
    return differences[label].high < best


def _optuna(sweep: Sweep, found: Search, planner: Planner, progress, run: RunCells) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=found.seed))
    climb = Climb(sweep, planner, progress, run)
    for _ in range(found.samples):
        trial = study.ask()
        values = {key: round(trial.suggest_float(key, *bounds), DIGITS) for key, bounds in found.space.items()}
        difference = climb(values)
        if difference is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, difference.mean)


class Climb:
    """Runs a cell rung by rung as long as there is hope."""

    def __init__(self, sweep: Sweep, planner: Planner, progress, run: RunCells):
        whole = planner.params["prompts"]["per_category"]
        # With all prompts it is the cell itself.
        self._rungs = [None if rung == whole else rung for rung in sweep.search.rungs] or [None]
        self._reference = dict(labelled(sweep))[sweep.compare_with]
        self._seen: dict[int | None, dict[str, Interval]] = {}
        self._sweep, self._planner, self._progress, self._run = sweep, planner, progress, run

    def __call__(self, values: Overrides) -> Interval | None:
        """The last difference to the compared cell; None when a cell failed."""
        label, objective = _label(values), self._sweep.search.objective
        for rung in self._rungs:
            limit = {} if rung is None else {"limit": rung}
            pair = {self._sweep.compare_with: self._reference, label: values}
            self._run([self._planner.cell(name, {**overrides, **limit}) for name, overrides in pair.items()])
            difference = self._progress.difference(label, rung, objective)
            if difference is None:
                return None
            seen = self._seen.setdefault(rung, {})
            seen[label] = difference
            if rung != self._rungs[-1] and hopeless(seen, label):
                interval = f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
                self._progress.pruned[label] = f"dropped after {rung} prompts a category: {objective} {interval}"
                return difference
        return difference


def _random(found: Search) -> Iterator[Overrides]:
    draw = random.Random(found.seed)
    for _ in range(found.samples):
        yield {key: round(draw.uniform(low, high), DIGITS) for key, (low, high) in found.space.items()}


def _label(values: Overrides) -> str:
    return "+".join(f"{key}-{value:g}" for key, value in values.items())
