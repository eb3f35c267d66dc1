"""What the answers say: shares with Wilson's interval, a sign test over prompts, agreement between raters."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from lab.study.answers import Answer


@dataclass(frozen=True)
class Tally:
    """One criterion's answers.

    Attributes:
        wins: how often each arm was chosen, in the order of the study's arms; `ties` how often neither.
        share: of the second arm among the choices of either; None where all are ties.
        low, high: Wilson's 95 % interval of `share`. It takes every answer as one of its own, which those of one
            rater, or on one prompt, are not: the sign test is the careful one.
        prompts: prompts that most of their raters gave to each arm; `even_prompts` those given to neither.
        p_value: of the two-sided sign test over `prompts`.
        alpha: Krippendorff's alpha over {first, tie, second}, nominal; None where nothing can be compared.
    """

    wins: tuple[int, int]
    ties: int
    share: float | None
    low: float | None
    high: float | None
    prompts: tuple[int, int]
    even_prompts: int
    p_value: float
    alpha: float | None


def tally(answers: Iterable[Answer], arms: Sequence[str]) -> Tally:
    """The tally of one criterion's answers about two arms."""
    first, second = arms
    by_prompt: dict[int, list[str | None]] = defaultdict(list)
    for answer in answers:
        by_prompt[answer.prompt_index].append(answer.choice)
    counts = Counter(choice for choices in by_prompt.values() for choice in choices)
    decided = counts[first] + counts[second]
    share = low = high = None
    if decided:
        share = counts[second] / decided
        low, high = binomtest(counts[second], decided).proportion_ci(method="wilson")
    leads = [choices.count(second) - choices.count(first) for choices in by_prompt.values()]
    lost, won = sum(lead < 0 for lead in leads), sum(lead > 0 for lead in leads)
    return Tally(
        wins=(counts[first], counts[second]),
        ties=counts[None],
        share=share,
        low=low,
        high=high,
        prompts=(lost, won),
        even_prompts=len(leads) - lost - won,
        p_value=float(binomtest(won, won + lost).pvalue) if won + lost else 1.0,
        alpha=krippendorff_alpha(list(by_prompt.values())),
    )


def krippendorff_alpha(units: Sequence[Sequence[Hashable]]) -> float | None:
    """Agreement beyond chance of nominal values: 1 where all raters agree, 0 as by chance.

    Args:
        units: each prompt's values, one a rater; a prompt with one rater says nothing of agreement and is left out.

    Source: K. Krippendorff, Content Analysis, 2nd edition, 2004, section 11.3 (coincidences within units over those
    expected).
    """
    compared = [Counter(values) for values in units if len(values) > 1]
    totals = sum(compared, Counter())
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    if not expected:
        return None  # nobody to compare with, or one value throughout, of which chance expects nothing else
    observed = sum((u.total() ** 2 - sum(c * c for c in u.values())) / (u.total() - 1) for u in compared)
    return 1 - (n - 1) * observed / expected
