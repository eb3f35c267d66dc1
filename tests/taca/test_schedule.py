"""Eq. 11: gamma(t), on the scheduler's 0..1000 scale."""

import pytest
import torch

from taca.schedule import gamma_of, is_active


def test_gamma_acts_at_and_above_the_threshold_only():
    timestep = torch.tensor([1000.0, 970.001, 970.0, 969.999, 0.0])
    assert is_active(timestep, 970.0).tolist() == [True, True, True, False, False]
    torch.testing.assert_close(gamma_of(is_active(timestep, 970.0), 1.2), torch.tensor([1.2, 1.2, 1.2, 1.0, 1.0]))


def test_gamma_one_is_one_at_every_timestep():
    timestep = torch.linspace(0, 1000, 101)
    assert torch.equal(gamma_of(is_active(timestep, 500.0), 1.0), torch.ones(101))


@pytest.mark.parametrize(("threshold", "active"), [(0.0, 101), (1000.0, 1), (500.0, 51)])
def test_threshold_spans_the_whole_scale(threshold, active):
    assert is_active(torch.linspace(0, 1000, 101), threshold).sum() == active


def test_lower_threshold_never_switches_a_timestep_off():
    timestep = torch.linspace(0, 1000, 101)
    counts = [is_active(timestep, threshold).sum().item() for threshold in (1000, 970, 930, 500, 0)]
    assert counts == sorted(counts)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_dtype_is_compared_with_the_unrounded_threshold(dtype):
    """968 and 972 are bfloat16 numbers and 970 is not: it must not be rounded onto either."""
    assert is_active(torch.tensor([968, 972], dtype=dtype), 970.0).tolist() == [False, True]


def test_gamma_is_exact_in_the_dtype_asked_for():
    gamma = gamma_of(torch.tensor([True, False]), 1.2, torch.float64)
    assert gamma.tolist() == [1.2, 1.0]


def test_shape_is_kept():
    assert gamma_of(torch.ones(3, 2, dtype=torch.bool), 1.2).shape == (3, 2)
    assert gamma_of(torch.tensor(True), 1.2).shape == ()


@pytest.mark.parametrize(("steps", "active"), [(28, 3), (30, 3), (40, 4), (50, 5)])
def test_sd3_schedules_have_as_many_active_steps_as_the_paper(steps, active):
    """The scheduler's own timesteps for SD3 (shift 3), threshold 970."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(steps)
    assert is_active(scheduler.timesteps, 970.0).tolist() == [True] * active + [False] * (steps - active)
