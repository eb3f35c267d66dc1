"""With the scheduler at hand, rounded timesteps are known for what they were."""

import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, FlowMatchEulerDiscreteScheduler
from tiny_models import CASES, predict
from tiny_sd3 import draw, pipeline, transformer

from taca import TacaConfig, taca
from taca.noise import Timestep


def schedule(steps: int, around: tuple[float, ...] = ()) -> FlowMatchEulerDiscreteScheduler:
    """A schedule of `steps` points from 1000 down, some of them moved to the values of `around`."""
    sigmas = np.linspace(1.0, 1 / steps, steps)
    sigmas[1 : 1 + len(around)] = np.array(around) / 1000
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0 if around else 3.0)
    scheduler.set_timesteps(sigmas=list(sigmas))
    return scheduler


def as_flux_passes_it(timestep: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return timestep.expand(2).to(dtype) / 1000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("steps", [28, 30, 50])
@pytest.mark.parametrize("around", [(), (970.5, 970.0, 969.5), (972.0, 971.0, 970.0), (969.9, 968.0, 966.0)])
def test_every_point_of_a_schedule_is_found_again(dtype, steps, around):
    """Just above, at, and just below the threshold, which bfloat16 cannot tell apart."""
    scheduler = schedule(steps, around)
    sample = torch.zeros(1)
    for own in scheduler.timesteps:
        found = Timestep(scale=1000.0).scheduled(as_flux_passes_it(own, dtype), scheduler)
        assert torch.equal(found, own.expand(2))
        scheduler.step(sample, own, sample)


def test_a_timestep_that_is_not_of_the_schedule_is_left_alone():
    """Training passes draw their own."""
    found = Timestep(scale=1000.0).scheduled(torch.tensor([0.9712, 0.5]), schedule(30))
    torch.testing.assert_close(found, torch.tensor([971.2, 500.0]))


def test_integer_timesteps_are_taken():
    found = Timestep().scheduled(torch.tensor([999, 3]), schedule(30))
    assert torch.equal(found, torch.tensor([999.0, 3.0]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(("around", "acting"), [((970.5, 970.0, 969.5), 3), ((970.5, 969.9, 968.0), 2)])
@torch.no_grad()
def test_every_family_in_bfloat16_acts_at_the_schedulers_own_steps(case, around, acting):
    """In bfloat16 all three points arrive as 968.75 or 972.66; the decision is that of the exact ones."""
    model, arguments = case.model().bfloat16(), case.inputs([1000.0], torch.bfloat16)
    for steps in (28, 30, 50):
        scheduler, sample, acted = schedule(steps, around), torch.zeros(1), []
        for own in scheduler.timesteps[:6]:
            now = {**arguments, "timestep": (own[None] / case.timestep_scale).to(torch.bfloat16)}
            stock = predict(model, now)
            with taca(model, TacaConfig(gamma=1.5), scheduler=scheduler):
                acted.append(not torch.equal(predict(model, now), stock))
            scheduler.step(sample, own, sample)
        assert acted == [True] * acting + [False] * (6 - acting)


def test_cogvideox_with_its_own_schedulers_integer_timesteps():
    """979, 959, ... of 1000: below the threshold from the second on."""
    scheduler = CogVideoXDDIMScheduler()
    scheduler.set_timesteps(50)
    found = [Timestep().scheduled(t[None].to(torch.bfloat16), scheduler).item() for t in scheduler.timesteps]
    assert found == scheduler.timesteps.tolist()


@torch.no_grad()
def test_a_pipeline_may_be_given_in_the_place_of_its_transformer():
    """It acts as on the transformer, and is removed as it was applied."""
    pipe = pipeline(transformer())
    stock = draw(pipe, steps=6)
    with taca(pipe.transformer, TacaConfig(gamma=2.0)):
        expected = draw(pipe, steps=6)
    with taca(pipe, TacaConfig(gamma=2.0)) as same:
        assert same is pipe
        assert torch.equal(draw(pipe, steps=6), expected)
    assert torch.equal(draw(pipe, steps=6), stock)
    assert not torch.equal(expected, stock)
