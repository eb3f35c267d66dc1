"""Cells that are drawn: by chance, or by Optuna from what earlier cells scored, the hopeless ones dropped early.

A rung is the same cell with more prompts of each category; it takes over the images of the rung before. After a rung
that is not the last, a cell is dropped when even the upper bound of its paired difference to the compared cell lies
below the best lower bound so far: not when its mean is lower, which with few prompts says little.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.cells import Cell, Planner
from flows.definition import Overrides, Search, Sweep, labelled
from taca.errors import StageError

RunCells = Callable[[list[Cell], dict[str, Path]], None]
DIGITS = 3  # of drawn values: what is drawn is what is written and read


def search(sweep: Sweep, planner: Planner, progress, run: RunCells) -> None:
    """Draws and runs the cells of the sweep's search.

    Args:
        progress: `flows.sweep_tasks.Progress`, which takes in finished, failed and pruned cells.
        run: runs cells, with images to take over by label.

    Raises:
        StageError: a rung cannot take over the images of the one before.
    """
    found = sweep.search
    check_rungs(found, planner.document)
    if found.method == "random":
        draws = list(_random(found))
        run([planner.cell(_label(values), values) for values in draws], {})
        return
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
                f"A rung of {rung} prompts ({images} image each) is no whole number of batches of {batch}, or more than "
                f"the {whole} prompts there are: change `rungs`, `generate.batch_size` or `prompts.per_category`."
            )


def hopeless(differences: dict[str, tuple[float, float]], label: str) -> bool:
    """Whether a cell's interval (low, high) lies below the best cell's lower bound, or the compared cell's 0."""
    best = max([0.0, *(low for other, (low, _) in differences.items() if other != label)])
    return differences[label][1] < best


def _optuna(sweep: Sweep, found: Search, planner: Planner, progress, run: RunCells) -> None:
    import optuna

    if found.objective is None:
        raise StageError("The search's `objective` is missing: name the category that optuna is to maximize.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=found.seed))
    for _ in range(found.samples):
        trial = study.ask()
        values = {key: round(trial.suggest_float(key, *bounds), DIGITS) for key, bounds in found.space.items()}
        score = _climb(sweep, found, planner, progress, run, values)
        if score is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, score)


def _climb(sweep: Sweep, found: Search, planner: Planner, progress, run: RunCells, values: Overrides) -> float | None:
    """Runs a cell rung by rung as long as there is hope; its last difference to the compared cell."""
    label, earlier, score = _label(values), {}, None
    for rung in found.rungs or [None]:
        limited = {} if rung is None else {"limit": rung}
        reference = next(overrides for name, overrides in labelled(sweep) if name == sweep.compare_with)
        cells = [planner.cell(sweep.compare_with, {**reference, **limited}), planner.cell(label, {**values, **limited})]
        run(cells, earlier)
        if label not in progress.done:
            return None
        low, high, score = progress.difference(label, found.objective)
        progress.intervals.setdefault(rung, {})[label] = (low, high)
        if rung != (found.rungs or [None])[-1] and hopeless(progress.intervals[rung], label):
            progress.prune(
                label, f"dropped after {rung} prompts: {found.objective} {score:+.3f} [{low:+.3f}, {high:+.3f}]"
            )
            break
        earlier = {name: progress.images(name) for name in (label, sweep.compare_with)}
    return score


def _random(found: Search) -> Iterator[Overrides]:
    draw = random.Random(found.seed)
    for _ in range(found.samples):
        yield {key: round(draw.uniform(low, high), DIGITS) for key, (low, high) in found.space.items()}


def _label(values: Overrides) -> str:
    return "+".join(f"{key}-{value:g}" for key, value in values.items())
