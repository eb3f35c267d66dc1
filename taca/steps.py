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
    """The steps in which TACA will act, with their timesteps. Nothing is generated; the pipeline is not changed.

    Args:
        pipe: a text-to-image or text-to-video pipeline of diffusers.
        num_inference_steps, height, width: those of the pipeline's call; height and width in pixels.
        config, **fields: as in `apply_taca`. By default, the applied configuration, or else the paper's values.

    Returns:
        A pair (step, timestep) for each active step; steps count from 0, timesteps are on the scheduler's scale.

    Raises:
        TacaError: a pipeline whose schedule depends on more than these arguments, such as image-to-image; or steps or
            a size that are not whole numbers above 0.
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
