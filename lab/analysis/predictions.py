"""The image that a pipeline expects to end with, as it expects it in each step: x0 = x_t - sigma v."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from PIL import Image

from lab.models.family import Family

# Decoded at once: those of one image of 1024 x 1024 take 4 GB.
PIXELS = 2**20


@contextmanager
def predicted(pipe) -> Iterator[list[torch.Tensor]]:
    """Collects the predictions of each step that the pipeline takes meanwhile: latents as it holds them, in float32.

    Guidance is in them: the scheduler is given what is left of both branches. In the last step the prediction is what
    the pipeline draws.
    """
    found: list[torch.Tensor] = []
    scheduler = pipe.scheduler
    step = scheduler.step

    def observed(velocity: torch.Tensor, timestep: torch.Tensor, latents: torch.Tensor, *args, **kwargs):
        # Flow matching's timesteps are 1000 sigma.
        sigma = float(timestep) / scheduler.config.num_train_timesteps
        found.append(latents.float() - sigma * velocity.float())
        return step(velocity, timestep, latents, *args, **kwargs)

    scheduler.step = observed
    try:
        yield found
    finally:
        del scheduler.step


@torch.no_grad()
def decoded(pipe, family: Family, latents: torch.Tensor, height: int, width: int) -> list[Image.Image]:
    """Images of latents as the pipeline holds them, `height` x `width` pixels, decoded in float32."""
    # A CPU without arithmetic of 16 bits takes 70 times as long in bfloat16, and a fifth longer without channels last.
    vae = pipe.vae.float().to(memory_format=torch.channels_last)
    latents = family.velocity(latents, height // pipe.vae_scale_factor, width // pipe.vae_scale_factor)
    latents = latents / vae.config.scaling_factor + vae.config.shift_factor
    at_once = max(1, PIXELS // (height * width))
    parts = latents.to(memory_format=torch.channels_last).split(at_once)
    pixels = torch.cat([vae.decode(part, return_dict=False)[0] for part in parts])
    return pipe.image_processor.postprocess(pixels, output_type="pil")
