"""What the scores answer to the questions that were asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from compbench.scorers.interface import SCORE_METRICS
from compbench.statistics import QUANTILES, Interval, bootstrap_means
from lab.report.questions import Question
from lab.report.results import Results
from lab.report.words import listing, signed, signed_bounds

NOTE = (
    "Differences averaged over the categories, with 95 % intervals over prompts. The primary question was fixed before "
    "any image was drawn and is shown only if its interval lies above 0; p of the others is Holm-corrected."
)
DETECTED = float(norm.ppf(QUANTILES[1]) + norm.ppf(0.8))  # standard errors of an effect seen in 80 % of experiments


@dataclass(frozen=True)
class Answer:
    """A contrast, averaged over the categories that were scored.

    Attributes:
        interval: its mean and 95 % interval: prompts are resampled within each category, for all arms together.
        hashes: short ones of the score files behind it, by arm.
        error: its standard error, the resamples' standard deviation.
        p_value: two-sided, of the normal distribution; Holm's correction over all but the primary question is in it.
        detectable: the smallest effect that is seen with a power of .8 at 5 %, uncorrected.
    """

    question: Question
    interval: Interval
    hashes: Mapping[str, str]
    error: float
    p_value: float
    detectable: float

    @property
    def shown(self) -> bool:
        """For the primary question whether its interval lies above 0, for others whether their p stays below .05."""
        return self.interval.low > 0 if self.question.primary else self.p_value < 0.05


@dataclass(frozen=True)
class Contrasts:
    """What was asked: the answers, and the questions for which an arm is missing, in the file's order."""

    answers: Sequence[Answer]
    unasked: Sequence[Question]

    @property
    def not_asked(self) -> str:
        """Names of the questions without an answer, in a list."""
        return listing([question.name for question in self.unasked])

    @property
    def headline(self) -> str | None:
        """What the primary question's interval says; None where it was not asked."""
        first = next((answer for answer in self.answers if answer.question.primary), None)
        if first is None:
            return None
        found = f"{signed(first.interval.mean)} {signed_bounds(first.interval)}"
        if first.shown:
            return f"{first.question.name} ({first.question.arms}) raises the mean score: {found}."
        return f"No gain of {first.question.name} ({first.question.arms}) is shown: {found}."


def ask(questions: Sequence[Question], results: Results, resamples: int, seed: int) -> Contrasts:
    """Answers to all questions whose arms were drawn."""
    scores = {arm.name: arm.scores.by_prompt() for arm in results.arms}
    askable = [question for question in questions if question.weights.keys() <= scores.keys()]
    answers = [_answer(question, scores, results, resamples, seed) for question in askable]
    corrected = iter(holm([one.p_value for one in answers if not one.question.primary]))
    return Contrasts(
        [one if one.question.primary else replace(one, p_value=next(corrected)) for one in answers],
        [question for question in questions if question not in askable],
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values as Holm corrects them (Scandinavian Journal of Statistics 6, 1979), in their order."""
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = least
    return corrected


def _answer(question: Question, scores: Mapping, results: Results, resamples: int, seed: int) -> Answer:
    differences, resampled = [], []
    for place, category in enumerate(results.categories):
        by_arm = {arm: scores[arm][category, SCORE_METRICS[category]] for arm in question.weights}
        prompts = sorted(next(iter(by_arm.values())))
        values = np.array([sum(w * by_arm[arm][p] for arm, w in question.weights.items()) for p in prompts])
        differences.append(values)
        # Categories have prompts of their own, so they are resampled apart.
        resampled.append(bootstrap_means(values, resamples, seed + place))
    mean, means = float(np.mean([values.mean() for values in differences])), np.mean(resampled, axis=0)
    low, high = map(float, np.quantile(means, QUANTILES))
    error = float(means.std(ddof=1))
    return Answer(
        question,
        Interval(mean, low, high, sum(map(len, differences))),
        {arm.name: arm.hash for arm in results.arms if arm.name in question.weights},
        error,
        float(2 * norm.sf(abs(mean) / error)) if error else float(mean == 0),
        DETECTED * error,
    )
