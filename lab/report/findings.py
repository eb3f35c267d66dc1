"""What the intervals say, in sentences."""

from dataclasses import dataclass

from compbench.statistics import Interval
from lab.report.results import ALL, Arm, Results
from lab.report.words import CATEGORY_NAMES, QUALITY_NAMES, listing, signed, signed_bounds


@dataclass(frozen=True)
class Finding:
    """One arm against the baseline.

    `shown` is a sentence on the categories and quality metrics whose interval excludes 0, `not_shown` on those whose
    interval contains it; one of the two may be empty.
    """

    arm: Arm
    shown: str
    not_shown: str


def findings(results: Results) -> list[Finding]:
    """One for each arm but the baseline."""
    return [_finding(results, arm) for arm in results.compared]


def chance(results: Results) -> str:
    """How many intervals would exclude 0 if no arm differed from the baseline at all."""
    count = len(results.compared) * (len(results.categories) + len(results.quality))
    return (
        f"Of {count} intervals at 95 %, about {0.05 * count:.1f} would exclude 0 by chance alone if no arm differed "
        f"from {results.baseline.name}."
    )


def _finding(results: Results, arm: Arm) -> Finding:
    found = _differences(results, arm)
    shown = [
        f"{'higher' if difference.mean > 0 else 'lower'} in {name} "
        f"({signed(difference.mean)} {signed_bounds(difference)})"
        for name, difference in found.items()
        if difference.excludes_zero
    ]
    within = [name for name, difference in found.items() if not difference.excludes_zero]
    reference = results.baseline.name
    shown_text = f"Differs from {reference}: {'; '.join(shown)}." if shown else ""
    if not shown:
        within_text = f"No difference to {reference} is shown: in every category it lies within its interval."
    elif within:
        within_text = f"Within its interval, so no difference is shown: {listing(within)}."
    else:
        within_text = ""
    return Finding(arm, shown_text, within_text)


def _differences(results: Results, arm: Arm) -> dict[str, Interval]:
    """By the name that a reader knows."""
    categories = {CATEGORY_NAMES[category]: results.of(arm, category).difference for category in results.categories}
    return categories | {QUALITY_NAMES[metric]: results.of(arm, ALL, metric).difference for metric in results.quality}
