"""A finished sweep as a page to commit: its cells, its figures, and every difference, corrected for their number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from compbench.statistics import Interval
from lab.report.contrasts import Answer
from lab.report.paper import PaperTable
from lab.report.provenance import scored_by
from lab.report.results import Results
from lab.report.tables import markdown_table, published_lines
from lab.report.words import CATEGORY_NAMES, bounds, listing, number, signed, signed_bounds


@dataclass(frozen=True)
class Cell:
    """What a page says of one cell beside its scores; None where it was not measured.

    Attributes:
        experiment: its commit.
        sets: its overrides.
        distance: Fréchet distance to rendered scenes.
        diversity: how different one prompt's images are.
        facts: other numbers, by the name of their column.
    """

    experiment: str
    sets: Mapping[str, object]
    distance: float | None = None
    diversity: Interval | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """All that a page shows.

    Attributes:
        made: lines on how it came about: commit, machine, hours, images.
        chosen: by the name of a best cell, what was chosen on the prompts of odd and of even places.
        notes: lines under the differences.
        figures: file names.
    """

    title: str
    results: Results
    cells: Mapping[str, Cell]
    answers: Sequence[Answer]
    made: Sequence[str]
    chosen: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    figures: Sequence[str] = ()
    paper: PaperTable | None = None


def outcome_markdown(outcome: Outcome) -> str:
    """The page."""
    count = len(outcome.answers)
    shown = [answer.question.name for answer in outcome.answers if answer.shown]
    verdict = f"p stays below .05 for {listing(shown)}." if shown else "None of them keeps a p below .05."
    lines = [
        f"# {outcome.title}\n",
        *(f"{line}\n" for line in outcome.made),
        "## Differences\n",
        "Averaged over the categories, on the same prompts and noise, with 95 % intervals and standard errors over "
        f"prompts. p is Holm-corrected over all {count} intervals of this table; the intervals are not. {verdict}\n",
        markdown_table(*_differences(outcome)),
        *(f"{line}\n" for line in _chosen(outcome.chosen)),
        *(f"{note}\n" for note in outcome.notes),
        *(f"![{name}]({name})\n" for name in outcome.figures),
        "## Cells\n",
        f"Means of the scores. {scored_by(outcome.results.manifest)}\n",
        markdown_table(*_means(outcome)),
    ]
    if outcome.paper is not None:
        lines += published_lines("Model", outcome.paper)
    return "\n".join(lines)


def _differences(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    head = ["Question", "Cells", "Difference", "Standard error", "p", "Seen with power .8"]
    rows = []
    for answer in outcome.answers:
        found = f"{signed(answer.interval.mean)} {signed_bounds(answer.interval)}"
        rows.append(
            [
                answer.question.name,
                answer.question.arms,
                f"**{found}**" if answer.shown else found,
                number(answer.error),
                "< 0.001" if answer.p_value < 0.001 else f"{answer.p_value:.3f}",
                number(answer.detectable),
            ]
        )
    return head, rows


def _chosen(chosen: Mapping[str, tuple[str, str]]) -> list[str]:
    lines = []
    for name, (odd, even) in chosen.items():
        which = odd if odd == even else f"{odd} by one half of the prompts, {even} by the other"
        lines.append(f"{name}: {which}, scored on the half that did not choose it.")
    return lines


def _means(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    results, cells = outcome.results, outcome.cells
    more = list(dict.fromkeys(name for cell in cells.values() for name in cell.facts))
    near = any(cell.distance is not None for cell in cells.values())
    apart = any(cell.diversity is not None for cell in cells.values())
    head = ["Cell", "Sets", *(CATEGORY_NAMES[category] for category in results.categories), "Mean", *more]
    head += ["Fréchet distance"] * near + ["Diversity"] * apart + ["Scores", "Experiment"]
    rows, sets = [], [cell.sets.items() for cell in cells.values()]
    shared = [one for one in sets[0] if all(one in own for own in sets)]  # said above
    for arm in results.arms:
        cell, means = cells[arm.name], [results.of(arm, category).mean.mean for category in results.categories]
        row = [arm.name, ", ".join(f"{key} {value}" for key, value in cell.sets.items() if (key, value) not in shared)]
        row += [number(mean) for mean in (*means, sum(means) / len(means))]
        row += [cell.facts.get(name, "") for name in more]
        if near:
            row.append("" if cell.distance is None else number(cell.distance))
        if apart:
            row.append("" if cell.diversity is None else f"{number(cell.diversity.mean)} {bounds(cell.diversity)}")
        rows.append([*row, f"`{arm.hash}`", f"`{cell.experiment[:10]}`"])
    return head, rows


def numbers(outcome: Outcome) -> dict[str, object]:
    """All of it as numbers."""
    return {
        "title": outcome.title,
        "made": list(outcome.made),
        "differences": [
            {
                "question": answer.question.name,
                "weights": dict(answer.question.weights),
                "mean": answer.interval.mean,
                "low": answer.interval.low,
                "high": answer.interval.high,
                "error": answer.error,
                "p_corrected": answer.p_value,
                "scores": dict(answer.hashes),
            }
            for answer in outcome.answers
        ],
        "chosen": {name: list(labels) for name, labels in outcome.chosen.items()},
        "cells": [
            {
                "label": arm.name,
                "experiment": outcome.cells[arm.name].experiment,
                "scores_md5": arm.md5,
                "means": {name: outcome.results.of(arm, name).mean.mean for name in outcome.results.categories},
                "frechet": outcome.cells[arm.name].distance,
                "diversity": getattr(outcome.cells[arm.name].diversity, "mean", None),
                **outcome.cells[arm.name].facts,
            }
            for arm in outcome.results.arms
        ],
    }
