"""A threshold belongs to a resolution, and is a noise level."""

import math

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, FlowMatchEulerDiscreteScheduler

from taca.errors import TacaError
from taca.schedule import equivalent_threshold, level_of_index


@pytest.mark.parametrize(("tokens", "expected"), [(4096, 970.0), (1024, 941.75), (64, 801.65), (16384, 984.77)])
def test_the_papers_threshold_at_other_sizes(tokens, expected):
    assert equivalent_threshold(970.0, tokens) == pytest.approx(expected, abs=0.005)


def test_a_scheduler_with_a_shift_of_its_own_gives_it():
    """FLUX.1 at 512 x 512: mu is .63 at 1,024 tokens and 1.15 at 4,096."""
    assert equivalent_threshold(970.0, 1024, shift=math.exp(0.63 - 1.15)) == pytest.approx(950.55, abs=0.05)


def test_there_and_back_is_the_same_threshold():
    for tokens in (16, 64, 1024, 5000, 65536):
        for threshold in (0.0, 1.0, 500.0, 970.0, 1000.0):
            there = equivalent_threshold(threshold, tokens)
            assert equivalent_threshold(there, 4096, reference_tokens=tokens) == pytest.approx(threshold, abs=1e-9)


def test_more_tokens_never_lower_it_and_the_ends_stay():
    levels = [equivalent_threshold(970.0, tokens) for tokens in (1, 64, 256, 4096, 10**6)]
    assert levels == sorted(levels)
    assert all(equivalent_threshold(end, tokens) == end for end in (0.0, 1000.0) for tokens in (1, 64, 4096, 9216))


@pytest.mark.parametrize("steps", [28, 30, 50])
@pytest.mark.parametrize("threshold", [300.0, 900.0, 970.0])
def test_as_many_steps_are_active_where_the_schedule_is_shifted_alike(steps, threshold):
    """A schedule of s times the shift, and the threshold that is equivalent to it."""
    for s in (0.125, 0.5, 1.5):
        counts = []
        for shift, bound in ((3.0, threshold), (3.0 * s, equivalent_threshold(threshold, 1, shift=s))):
            scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
            scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).tolist())
            counts.append(int((scheduler.timesteps >= bound).sum()))
        assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"threshold": 1001.0, "tokens": 64}, "`threshold`"),
        ({"threshold": math.nan, "tokens": 64}, "`threshold`"),
        ({"threshold": "970", "tokens": 64}, "`threshold`"),
        ({"threshold": 970.0, "tokens": 0}, "`tokens`"),
        ({"threshold": 970.0, "tokens": "64"}, "`tokens`"),
        ({"threshold": 970.0, "tokens": 64, "reference_tokens": -1}, "`reference_tokens`"),
        ({"threshold": 970.0, "tokens": 64, "shift": math.inf}, "`shift`"),
    ],
)
def test_what_is_no_threshold_no_count_and_no_shift_is_refused(arguments, named):
    with pytest.raises(TacaError, match=named):
        equivalent_threshold(**arguments)


def test_an_index_is_mapped_to_the_weight_of_the_noise():
    """Of a picture of equal parts of variance it is a half; the last step of CogVideoX is pure noise."""
    assert level_of_index(torch.tensor([0]), torch.tensor([0.5])).item() == pytest.approx(500)
    alphas = CogVideoXDDIMScheduler(rescale_betas_zero_snr=True, snr_shift_scale=1.0).alphas_cumprod
    levels = level_of_index(torch.arange(1000), alphas)
    assert levels[-1] == 1000
    assert (levels.diff() > 0).all()
    alpha, sigma = alphas[400].sqrt().item(), (1 - alphas[400]).sqrt().item()
    assert levels[400].item() == pytest.approx(1000 * sigma / (alpha + sigma), abs=1e-4)
