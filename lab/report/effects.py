"""Differences between the cells of a sweep, averaged over the categories: every interval counted, and corrected for.

Cells may stand for the same thing trained from several seeds; then their seeds are resampled too, and of several cells
the best may be taken, chosen on half of the prompts and scored on the other half.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from compbench.scorers.interface import SCORE_METRICS
from compbench.statistics import QUANTILES, Interval, bootstrap_means
from lab.report.contrasts import DETECTED, Answer, holm
from lab.report.questions import Question
from lab.report.results import Results

Values = Mapping[str, np.ndarray]
"""By category, scores (seeds, prompts); one seed where nothing was trained, or from one alone."""


@dataclass(frozen=True)
class Scored:
    """Scores of what a question names, and short hashes of the score files behind them."""

    values: Values
    hashes: tuple[str, ...]


def scored_cells(results: Results) -> dict[str, Scored]:
    """Each cell's scores by its label; prompts in the order of their numbers."""
    found = {}
    for arm in results.arms:
        by_prompt = arm.scores.by_prompt()
        of_category = {name: by_prompt[name, SCORE_METRICS[name]] for name in results.categories}
        values = {
            name: np.array([[scores[prompt] for prompt in sorted(scores)]]) for name, scores in of_category.items()
        }
        found[arm.name] = Scored(values, (arm.hash,))
    return found


def joined(cells: Sequence[Scored]) -> Scored:
    """The same from several training seeds."""
    values = {name: np.concatenate([cell.values[name] for cell in cells]) for name in cells[0].values}
    return Scored(values, tuple(digest for cell in cells for digest in cell.hashes))


def best_of(cells: Mapping[str, Scored]) -> tuple[Scored, tuple[str, str]]:
    """The best of these cells, half of the prompts scored by the one that is best on the other half.

    Returns:
        It, and the labels that were chosen on the prompts of odd and of even places.
    """
    chosen = tuple(max(cells, key=lambda label: _mean(cells[label], half)) for half in (1, 0))
    values = {}
    for name in cells[chosen[0]].values:
        values[name] = cells[chosen[0]].values[name].copy()  # of even places, chosen on the odd ones
        values[name][:, 1::2] = cells[chosen[1]].values[name][:, 1::2]
    return Scored(values, tuple(digest for label in dict.fromkeys(chosen) for digest in cells[label].hashes)), chosen


def effects(questions: Sequence[Question], scored: Mapping[str, Scored], resamples: int, seed: int) -> list[Answer]:
    """Answers to all questions, whose p-values share Holm's correction."""
    answers = [_answer(question, scored, resamples, seed) for question in questions]
    return [
        replace(answer, p_value=corrected)
        for answer, corrected in zip(answers, holm([answer.p_value for answer in answers]), strict=True)
    ]


def _mean(cell: Scored, half: int) -> float:
    return float(np.mean([values[:, half::2].mean() for values in cell.values.values()]))


def _answer(question: Question, scored: Mapping[str, Scored], resamples: int, seed: int) -> Answer:
    named = {label: scored[label] for label in question.weights}
    # What was trained from one seed alone stands against every seed of the other.
    weighed = {
        name: sum(weight * named[label].values[name] for label, weight in question.weights.items())
        for name in next(iter(named.values())).values
    }
    seeds = max(len(values) for values in weighed.values())
    counts = np.random.default_rng(seed).multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    resampled = [
        # A category's prompts are resampled alike for all seeds, and seeds alike for all categories.
        (counts * np.stack([bootstrap_means(row, resamples, seed + place) for row in values], axis=1)).sum(1)
        for place, values in enumerate(weighed.values())
    ]
    mean, means = float(np.mean([values.mean() for values in weighed.values()])), np.mean(resampled, axis=0)
    low, high = map(float, np.quantile(means, QUANTILES))
    error = float(means.std(ddof=1))
    return Answer(
        question,
        Interval(mean, low, high, sum(values.shape[1] for values in weighed.values())),
        {label: " ".join(cell.hashes) for label, cell in named.items()},
        error,
        float(2 * norm.sf(abs(mean) / error)) if error else float(mean == 0),
        DETECTED * error,
    )
