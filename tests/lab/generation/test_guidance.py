"""Guidance in a window of noise levels."""

import pytest
import tiny_pipelines
import torch
from tiny_sd3 import pipeline, transformer

from lab.errors import LabError
from lab.generation.guidance import UNGUIDED, Guidance
from taca import active_steps

STEPS = 8


@pytest.fixture
def pipe():
    return pipeline(transformer())


def drawn(pipe, guidance: Guidance) -> tuple[torch.Tensor, list[float]]:
    """Latents, and the scale of each step."""
    generator = torch.Generator().manual_seed(2)
    prompt, negative = torch.randn(2, 1, 5, 12, generator=generator)
    pooled, negative_pooled = torch.randn(2, 1, 10, generator=generator)
    scales = []
    handle = pipe.transformer.register_forward_hook(lambda *_: scales.append(pipe.guidance_scale))
    latents = pipe(
        prompt_embeds=prompt,
        negative_prompt_embeds=negative,
        pooled_prompt_embeds=pooled,
        negative_pooled_prompt_embeds=negative_pooled,
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
        height=8,
        width=8,
        **guidance.options(pipe, STEPS, 8, 8),
    ).images
    handle.remove()
    return latents, scales


def test_the_scale_holds_in_its_window_alone(pipe):
    """In TACA's window, in a middle interval, and where the window is empty nowhere."""
    timesteps = [t for _, t in active_steps(pipe, STEPS, 8, 8, threshold=0.0)]
    for low, high in ((800.0, 1000.0), (400.0, 800.0), (0.0, 300.0)):
        _, scales = drawn(pipe, Guidance(3.0, (low, high)))
        inside = [low <= t and (t < high or high == 1000) for t in timesteps]
        assert scales == [3.0 if yes else UNGUIDED for yes in inside]
        assert 0 < sum(inside) < STEPS


def test_a_window_of_all_steps_is_plain_guidance(pipe):
    everywhere, _ = drawn(pipe, Guidance(3.0, (0.0, 1000.0)))
    assert torch.equal(everywhere, drawn(pipe, Guidance(3.0))[0])


def test_outside_of_the_window_the_prediction_is_the_conditional_one(pipe):
    """As if no guidance were asked for, to the last digits of float32."""
    nowhere, scales = drawn(pipe, Guidance(3.0, (0.0, 1e-3)))
    assert set(scales) == {UNGUIDED}
    torch.testing.assert_close(nowhere, drawn(pipe, Guidance(1.0))[0], rtol=1e-3, atol=1e-4)


def test_a_pipeline_that_embeds_its_scale_is_refused():
    with pytest.raises(LabError, match="`guidance_window` is given, but FluxPipeline embeds its scale"):
        Guidance(3.5, (0.0, 500.0)).options(tiny_pipelines.flux(), 4, 64, 64)
