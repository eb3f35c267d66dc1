"""Cells that are drawn: by chance, or by Optuna from what earlier cells scored, the hopeless ones dropped early.

A rung is the same cell with more prompts of each category; it takes over the images of the rung before. After a rung
that is not the last, a cell is dropped when even the upper bound of its paired difference to the compared cell lies
below the best lower bound so far: not when its mean is lower, which with few prompts says little.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from compbench.statistics import Interval
from flows.sweeps.definition import Overrides, Search, Sweep, labelled
from flows.sweeps.progress import Progress
from runtime.errors import StageError
from runtime.params import read_yaml

RunCells = Callable[[Iterable[tuple[str, Overrides]]], None]
DIGITS = 3  # of drawn values: what is drawn is what is written and read


def search(root: Path, sweep: Sweep, progress: Progress, run: RunCells) -> None:
    """Draws and runs the cells of the sweep's search.

    Args:
        progress: takes in finished, failed and dropped cells.
        run: runs cells, by their labels.

    Raises:
        StageError: a rung cannot take over the images of the one before.
    """
    found, params = sweep.search, read_yaml(root / "params.yaml")
    check_rungs(found, params)
    if found.method == "random":
        run((_label(values), values) for values in _random(found))
    else:
        _optuna(found, Climb(sweep, params["prompts"]["per_category"], progress, run))
    progress.show(left=0, running=0)


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


def _optuna(found: Search, climb: "Climb") -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=found.seed))
    for begun in range(0, found.samples, found.parallel):
        trials = [study.ask() for _ in range(min(found.parallel, found.samples - begun))]
        # Told in the order of asking, whichever cell ended first: the next draws depend on it.
        for trial, difference in zip(trials, climb([_drawn(trial, found) for trial in trials]), strict=True):
            if difference is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, difference.mean)


class Climb:
    """Runs cells rung by rung as long as there is hope."""

    def __init__(self, sweep: Sweep, whole: int, progress: Progress, run: RunCells):
        # With all prompts it is the cell itself.
        self._rungs = [None if rung == whole else rung for rung in sweep.search.rungs] or [None]
        self._reference = dict(labelled(sweep))[sweep.compare_with]
        self._seen: dict[int | None, dict[str, Interval]] = {rung: {} for rung in self._rungs}
        self._sweep, self._progress, self._run = sweep, progress, run

    def __call__(self, draws: Sequence[Overrides]) -> list[Interval | None]:
        """The last difference of each to the compared cell; None when a cell failed."""
        climbing, last = {_label(values): values for values in draws}, {}
        for rung in self._rungs:
            limit = {} if rung is None else {"limit": rung}
            cells = {self._sweep.compare_with: self._reference, **climbing}
            self._run((label, {**overrides, **limit}) for label, overrides in cells.items())
            last |= {label: self._progress.difference(label, rung, self._sweep.search.objective) for label in climbing}
            self._seen[rung] |= {label: last[label] for label in climbing if last[label] is not None}
            climbing = {label: values for label, values in climbing.items() if self._goes_on(label, rung)}
            if not climbing:
                break
        return [last[_label(values)] for values in draws]

    def _goes_on(self, label: str, rung: int | None) -> bool:
        seen = self._seen[rung]
        if label not in seen or rung == self._rungs[-1]:
            return False
        dropped = hopeless(seen, label)
        if dropped:
            found = seen[label]
            interval = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
            why = f"dropped after {rung} prompts a category: {self._sweep.search.objective} {interval}"
            self._progress.pruned[label] = why
        return not dropped


def _drawn(trial, found: Search) -> Overrides:
    return {key: round(trial.suggest_float(key, *bounds), DIGITS) for key, bounds in found.space.items()}


def _random(found: Search) -> Iterator[Overrides]:
    draw = random.Random(found.seed)
    for _ in range(found.samples):
        yield {key: round(draw.uniform(low, high), DIGITS) for key, (low, high) in found.space.items()}


def _label(values: Overrides) -> str:
    return "+".join(f"{key}-{value:g}" for key, value in values.items())
