"""The page of a sweep: what its stages measured, and what is measured here of what they made."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from compbench.tables import read_table
from flows.results.made import Made, history
from flows.sweeps.definition import Sweep, grouped, read_sweep
from flows.sweeps.progress import FOLDER, finished_cells, scored
from lab.params import load, validate
from lab.params.sections import Params
from lab.params.variation import varied
from lab.report.effects import best_of, effects, joined, scored_cells
from lab.report.outcome import Cell, Outcome, numbers, outcome_markdown
from lab.report.paper import paper_table
from lab.report.questions import Question
from lab.report.results import compare
from lab.report.words import number
from runtime.errors import StageError
from runtime.params import read_yaml

PROMPTS = 16  # of which the first of each category tell what a method does to logits
ON = "data/prompts.parquet"
SEEDS = "Prompts and training seeds are resampled together; of few seeds that says little of how much seeds differ."


def write_page(root: Path, name: str, pages: Path) -> None:
    """Writes the page of the sweep that was run in `root`, the numbers behind it, and its figures.

    Raises:
        StageError: a cell is missing, or what it made is not in DVC's cache.
    """
    sweep, finished = read_sweep(Path.cwd(), name), finished_cells(root / FOLDER / name)
    groups = grouped(sweep)
    missing = [label for labels in groups.values() for label in labels if label not in finished]
    if missing:
        raise StageError(f"The sweep {name} lacks {missing[0]}: run `make sweep SWEEP={name}` to its end.")
    params, made = load(), Made(root, finished)
    arms = [scored(root, cell, cell.experiment) for cell in finished.values()]
    results = compare(arms, sweep.compare_with, params.report.bootstrap, params.report.seed)
    cells, chosen = scored_cells(results), {}
    named = {group: joined([cells[label] for label in labels]) for group, labels in groups.items()}
    for best, labels in sweep.best.items():
        named[best], chosen[best] = best_of({label: named[label] for label in labels})
    pages.mkdir(parents=True, exist_ok=True)
    outcome = Outcome(
        title=sweep.title,
        results=results,
        cells=_cells(sweep, made, params),
        answers=effects(_questions(sweep), named, params.report.bootstrap, params.report.seed),
        made=_lines(root, name, made, results),
        chosen=chosen,
        notes=[SEEDS] if sweep.resampled else [],
        figures=_figures(root / FOLDER / name, name, pages),
        paper=paper_table(sweep.paper) if sweep.paper else None,
    )
    (pages / f"{name}.md").write_text(outcome_markdown(outcome), encoding="utf-8")
    (pages / f"{name}.json").write_text(json.dumps(numbers(outcome), indent=1) + "\n", encoding="utf-8")


def _questions(sweep: Sweep) -> list[Question]:
    """Those of its file; without any, whether each cell differs from the one that they are compared with."""
    against = sweep.compare_with
    asked = sweep.contrasts or {cell: {cell: 1.0, against: -1.0} for cell in grouped(sweep) if cell != against}
    return [Question(name, weights, primary=False) for name, weights in asked.items()]


def _lines(root: Path, name: str, made: Made, results) -> list[str]:
    told, images = history(root, name), {len(made.images(label)) for label in made.cells}
    prompts = {results.of(results.baseline, category).mean.n for category in results.categories}
    return [
        f"Sweep `{name}` of the built-in world: {len(made.cells)} cells of {_range(images)} images, {_range(prompts)} "
        f"prompts a category. Commit `{told['commit'][:10]}`, {told['machine']}, {told['hours']:.2f} hours. Written by "
        f"`python -m flows.results {name}`; where the sweep was run, `make run HASH=…` finds the run behind scores.",
    ]


def _range(found: set[int]) -> str:
    return f"{min(found):,}" if len(found) == 1 else f"{min(found):,} to {max(found):,}"


def _figures(folder: Path, name: str, pages: Path) -> list[str]:
    """Copies of the sweep's own that show an effect against a setting."""
    found = []
    for path in sorted(folder.glob("by-*.svg")):
        found.append(f"{name}-{path.name}")
        shutil.copy(path, pages / found[-1])
    return found


def _cells(sweep: Sweep, made: Made, params: Params) -> dict[str, Cell]:
    from lab.report.likeness import likeness  # loads torch

    base = Path("models/base") / params.base.name
    facts = _facts(sweep, made, base)
    found = likeness(base / "clip", {label: made.images(label) for label in made.cells})
    return {
        label: Cell(cell.experiment, cell.overrides, *found[label], facts[label]) for label, cell in made.cells.items()
    }


def _facts(sweep: Sweep, made: Made, base: Path) -> dict[str, dict[str, str]]:
    """Held-out losses, where training seeds are resampled; what methods do to logits, where no cell has an adapter."""
    document, settings = read_yaml(Path("params.yaml")), {}
    for label, cell in made.cells.items():
        varied_document, arm = varied(document, sweep.like, cell.overrides, label)
        settings[label] = validate(varied_document, label), arm
    if sweep.resampled is not None:
        return _losses(made, base, settings)
    if all(params.adapters[params.arms[arm].adapter].rank == 0 for params, arm in settings.values()):
        return _doses(made, base, settings)
    return {label: {} for label in settings}


def _doses(made: Made, base: Path, settings: dict[str, tuple[Params, str]]) -> dict[str, dict[str, str]]:
    from lab.report.doses import doses_of_arms

    first, (params, _) = next(iter(settings.items()))
    arms = {label: own.arms[arm] for label, (own, arm) in settings.items()}
    rows = read_table(made.file(first, ON))
    found = doses_of_arms(base, rows, params.generate, arms, PROMPTS, params.threads)
    return {
        label: {
            "Steps": str(dose.steps),
            "Change of a text logit": "" if dose.change is None else number(dose.change),
            "Attention to the text": "" if dose.mass is None else number(dose.mass),
            "w_eff": "" if dose.scale is None else number(dose.scale),
        }
        for label, dose in found.items()
    }


def _losses(made: Made, base: Path, settings: dict[str, tuple[Params, str]]) -> dict[str, dict[str, str]]:
    from lab.report.losses import held_out_losses

    found = {}
    with TemporaryDirectory() as kept:
        for label, (params, arm) in settings.items():
            own = params.arms[arm]
            encoded = made.laid_out(label, "data/encoded", Path(kept))
            trained = params.adapters[own.adapter].rank > 0
            lora = made.laid_out(label, f"models/adapters/{own.adapter}", Path(kept)) if trained else None
            (loss,) = held_out_losses(base, encoded, lora, params.train, [own.gamma], own.threshold)
            found[label] = {"Held-out loss": number(loss)}
    return found
