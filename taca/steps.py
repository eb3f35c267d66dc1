"""In which steps of a pipeline TACA will act, before anything is drawn."""

import copy
from typing import Any

import torch

from taca.config import TacaConfig, config_of
from taca.hooks import applied_hook
from taca.noise import noise_of
from taca.schedule import is_active
from taca.schedules import check_counts, schedule_of


def active_steps(
    pipe: Any,
    num_inference_steps: int,
    height: int,
    width: int,
    config: TacaConfig | None = None,
    **fields: Any,
) -> list[tuple[int, float]]:
    """The steps in which TACA will act, and their noise levels. Nothing is drawn; the pipeline stays as it is.

    Args:
        pipe: a pipeline of diffusers that draws images or videos from a prompt alone.
        num_inference_steps, height, width: as the pipeline will be called with; height and width in pixels.
        config, **fields: as in `apply_taca`. Without them, the configuration that is applied, or else the default.

    Returns:
        (step, timestep) of each, steps counted from 0, timesteps on the scheduler's 0..1000 scale.

    Raises:
        TacaError: a pipeline whose schedule depends on more than these, such as image-to-image; or steps or a size that
            are no whole number above 0.
    """
    schedule = schedule_of(pipe)
    check_counts(num_inference_steps=num_inference_steps, height=height, width=width)
    applied = applied_hook(pipe) if config is None and not fields else None
    config = config_of(config, fields) if applied is None else applied.config
    scheduler = copy.deepcopy(pipe.scheduler)
    scheduler.set_timesteps(**schedule(pipe, num_inference_steps, height, width))
    timesteps = torch.as_tensor(scheduler.timesteps)
    levels = noise_of(timesteps, scheduler) if config.threshold_of == "noise" else timesteps
    active = is_active(levels, config.threshold)
    if applied is not None and applied.until is not None:
        active &= ~is_active(levels, applied.until)
    return [(step, timesteps[step].item()) for step in active.nonzero().flatten().tolist()]
