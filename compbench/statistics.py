"""Means over prompts with bootstrap intervals, and differences of two arms on the same prompts.

Prompts are what the benchmark samples, so they are what is resampled (Efron, 1979); images of one prompt are averaged
first. Intervals are the 2.5 and 97.5 percentiles. The resamples depend on seed and number of prompts alone: arms scored
on the same prompts share them, and a paired difference is resampled as a difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from compbench.errors import CompbenchError

RESAMPLES = 10_000
QUANTILES = (0.025, 0.975)
_BLOCK = 1_000  # resamples at a time, so that memory does not grow with their number


@dataclass(frozen=True)
class Interval:
    """A mean over `n` prompts and the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def bootstrap_means(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Means of `resamples` resamples of `values` (n,) with replacement; shape (resamples,)."""
    rng = np.random.default_rng(seed)
    sizes = [min(_BLOCK, resamples - start) for start in range(0, resamples, _BLOCK)]
    return np.concatenate([values[rng.integers(len(values), size=(size, len(values)))].mean(1) for size in sizes])


def mean_interval(scores: Mapping[int, float], resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean and interval of scores by prompt.

    Raises: CompbenchError for fewer than two prompts.
    """
    if len(scores) < 2:
        raise CompbenchError(
            f"An interval over prompts needs at least two of them, got {len(scores)}: score more prompts."
        )
    # Sorted, so that arms resample the same prompts in the same places.
    values = np.array([scores[prompt] for prompt in sorted(scores)], float)
    low, high = np.quantile(bootstrap_means(values, resamples, seed), QUANTILES)
    return Interval(float(values.mean()), float(low), float(high), len(values))


def paired_difference(
    scores: Mapping[int, float], baseline: Mapping[int, float], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean and interval of `scores - baseline`, prompt by prompt.

    Raises: CompbenchError when the two were not scored on the same prompts, or on fewer than two.
    """
    if scores.keys() != baseline.keys():
        odd = min(scores.keys() ^ baseline.keys())
        raise CompbenchError(
            f"Arms can only be compared on the same prompts, but prompt {odd} was scored in only one of the two: "
            "score both again."
        )
    return mean_interval({prompt: scores[prompt] - baseline[prompt] for prompt in scores}, resamples, seed)
