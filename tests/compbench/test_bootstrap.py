"""Means, intervals and paired differences."""

import numpy as np
import pytest

from compbench.errors import CompbenchError
from compbench.statistics import bootstrap_means, mean_interval, paired_difference
from compbench.table import ScoreRow, scores_by_prompt


def by_prompt(values) -> dict[int, float]:
    return dict(enumerate(map(float, values)))


def test_images_of_one_prompt_are_averaged_first():
    """Prompt 7 has images scored 1 and 0, prompt 9 one image scored 1: the mean over prompts is 0.75, not 2/3."""
    rows = [
        ScoreRow(i, "p", "color", prompt, f"color/samples/p_{i:06d}.png", "attribute", score)
        for i, (prompt, score) in enumerate([(7, 1.0), (7, 0.0), (9, 1.0)])
    ]
    assert scores_by_prompt(rows) == {("color", "attribute"): {7: 0.5, 9: 1.0}}
    assert mean_interval(scores_by_prompt(rows)["color", "attribute"], 100).mean == 0.75


def test_interval_covers_the_true_mean_as_often_as_it_says():
    """Of 400 samples of 60 scores, about 95 % of the intervals hold the true mean (binomial error 1.1 %)."""
    rng = np.random.default_rng(1)
    samples = rng.beta(2, 1, (400, 60))
    found = [mean_interval(by_prompt(sample), resamples=500, seed=3) for sample in samples]
    covered = np.mean([interval.low <= 2 / 3 <= interval.high for interval in found])
    assert 0.91 <= covered <= 0.98


def test_width_agrees_with_the_normal_approximation():
    values = np.random.default_rng(2).normal(0.5, 0.2, 300)
    found = mean_interval(by_prompt(values))
    standard_error = values.std() / np.sqrt(300)
    assert found.high - found.low == pytest.approx(2 * 1.96 * standard_error, rel=0.05)


def test_pairing_sees_what_two_intervals_would_not():
    """Prompts differ by 0.3, arms by 0.02 on every prompt: the difference is certain, the means overlap."""
    baseline = np.random.default_rng(4).normal(0.5, 0.3, 100)
    noise = np.random.default_rng(5).normal(0.02, 0.01, 100)
    difference = paired_difference(by_prompt(baseline + noise), by_prompt(baseline))
    assert difference.excludes_zero
    assert difference.mean == pytest.approx(noise.mean())
    assert mean_interval(by_prompt(baseline + noise)).low < mean_interval(by_prompt(baseline)).mean


def test_difference_is_resampled_with_the_resamples_of_the_means():
    """The mean of a resample of differences is the difference of the resampled means."""
    rng = np.random.default_rng(6)
    first, second = rng.random(50), rng.random(50)
    apart = bootstrap_means(first, 2500, 9) - bootstrap_means(second, 2500, 9)
    np.testing.assert_allclose(bootstrap_means(first - second, 2500, 9), apart, atol=1e-12)


def test_equal_scores_lie_within_their_interval():
    scores = by_prompt([0.2, 0.4, 0.9])
    found = paired_difference(scores, dict(scores))
    assert (found.mean, found.low, found.high, found.excludes_zero) == (0, 0, 0, False)


def test_order_of_prompts_changes_nothing_and_the_seed_is_all_that_is_random():
    scores = by_prompt(np.random.default_rng(7).random(40))
    backwards = dict(reversed(scores.items()))
    assert mean_interval(scores, seed=1) == mean_interval(backwards, seed=1)
    assert mean_interval(scores, seed=1) != mean_interval(scores, seed=2)


def test_one_prompt_has_no_interval():
    with pytest.raises(CompbenchError, match=r"at least two of them, got 1: score more prompts"):
        mean_interval({0: 0.5})


def test_arms_on_different_prompts_are_not_compared():
    with pytest.raises(CompbenchError, match="prompt 2 was scored in only one of the two"):
        paired_difference({0: 0.1, 1: 0.2}, {0: 0.1, 1: 0.2, 2: 0.3})
