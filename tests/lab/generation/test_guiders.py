"""CFG-Zero* and APG in an SD3 pipeline, against their formulas written out in float64 without a guider."""

from contextlib import nullcontext

import pytest
import tiny_pipelines
import torch
from tiny_sd3 import draw, pipeline, transformer

from lab.errors import LabError
from lab.generation.guiders import guided

SCALE, STEPS = 3.0, 4


def steps_of(name: str | None, images: int = 1):
    """Of each step: both branches as the transformer gives them, and the velocity that the scheduler gets."""
    pipe, branches, velocities = pipeline(transformer().double()), [], []
    pipe.transformer.register_forward_hook(lambda _model, _given, output: branches.append(output[0].chunk(2)))
    step = pipe.scheduler.step

    def observed(velocity, *args, **kwargs):
        velocities.append(velocity)
        return step(velocity, *args, **kwargs)

    pipe.scheduler.step = observed
    pipe.vae.double()
    pipe.transformer.register_forward_pre_hook(_in_float64, with_kwargs=True)
    with guided(pipe, name, SCALE) if name else nullcontext():
        for _ in range(images):
            draw(pipe, STEPS, guidance_scale=SCALE)
    return branches, velocities


def _in_float64(_model, args, kwargs):
    return args, {name: x.double() if torch.is_tensor(x) and x.is_floating_point() else x for name, x in kwargs.items()}


def zero_star(branches) -> list:
    found = []
    for step, (u, c) in enumerate(branches):
        # diffusers takes the factor in float32.
        factor = ((c.float() * u.float()).sum() / ((u.float() ** 2).sum() + 1e-8)).double()
        found.append(torch.zeros_like(c) if step % STEPS == 0 else factor * u + SCALE * (c - factor * u))
    return found


def projected(branches) -> list:
    found, average = [], 0.0
    for step, (u, c) in enumerate(branches):
        average = c - u - 0.5 * (average if step % STEPS else 0.0)
        update = average * min(1.0, 15.0 / average.norm().item())
        along = (update * c).sum() / (c * c).sum() * c
        found.append(c + (SCALE - 1) * (update - along))
    return found


@pytest.mark.parametrize(("name", "reference"), [("cfg-zero-star", zero_star), ("apg", projected)])
def test_a_guider_is_its_formula_in_every_step_of_every_image(name, reference):
    branches, velocities = steps_of(name, images=2)
    assert len(velocities) == 2 * STEPS
    plain = [u + SCALE * (c - u) for u, c in branches]
    for found, expected, without in zip(velocities, reference(branches), plain, strict=True):
        assert (found - expected).abs().max() < 1e-12
        assert (found - without).abs().max() > 1e-4


def test_without_a_guider_the_stock_path_is_taken_bitwise():
    pipe = pipeline(transformer())
    stock = draw(pipe, STEPS, guidance_scale=SCALE)
    with guided(pipe, None, SCALE):
        assert torch.equal(draw(pipe, STEPS, guidance_scale=SCALE), stock)
    with guided(pipe, "apg", SCALE):
        assert not torch.equal(draw(pipe, STEPS, guidance_scale=SCALE), stock)
    assert torch.equal(draw(pipe, STEPS, guidance_scale=SCALE), stock)


def test_a_pipeline_without_a_second_pass_is_refused():
    with pytest.raises(LabError, match="guides by no second pass"), guided(tiny_pipelines.flux(), "apg", SCALE):
        pass
