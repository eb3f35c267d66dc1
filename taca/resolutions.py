"""Thresholds of pipelines at other sizes than the one that they were chosen for."""

import math
from typing import Any

from taca.errors import TacaError
from taca.schedule import REFERENCE_TOKENS, equivalent_threshold
from taca.schedules import check_counts, schedule_of

# FLUX.2's shift depends on the number of steps too.
_STEPS_MATTER = ("Flux2Pipeline", "Flux2KleinPipeline")
# Those whose transformers make patches of the latents.
_PATCHING = (
    "AuraFlowPipeline",
    "CogVideoXPipeline",
    "ErnieImagePipeline",
    "HunyuanImagePipeline",
    "HunyuanVideo15Pipeline",
    "HunyuanVideoPipeline",
    "Lumina2Pipeline",
    "PRXPipeline",
    "StableDiffusion3Pipeline",
)


def threshold_for(
    pipe: Any, height: int, width: int, threshold: float, num_inference_steps: int | None = None
) -> float:
    """A threshold of 4,096 image tokens, taken to what a pipeline draws. See `TacaConfig.for_pipeline`."""
    schedule = schedule_of(pipe)
    steps = {} if num_inference_steps is None else {"num_inference_steps": num_inference_steps}
    check_counts(height=height, width=width, **steps)
    if num_inference_steps is None and type(pipe).__name__ in _STEPS_MATTER:
        raise TacaError(f"The shift of {type(pipe).__name__} depends on `num_inference_steps`: pass them too.")
    pixels = _pixels_of_token(pipe)
    tokens = (height // pixels) * (width // pixels)
    if tokens < 1:
        raise TacaError(f"`height` and `width` must be at least {pixels}, one token, got {height} and {width}.")
    side = math.isqrt(REFERENCE_TOKENS) * pixels
    mu, reference = (
        schedule(pipe, num_inference_steps or 1, *size).get("mu") for size in ((height, width), (side, side))
    )
    config = pipe.scheduler.config
    # Where the scheduler shifts by the number of tokens, what it shifts by is its own idea of equally undecided.
    if not config.get("use_dynamic_shifting"):
        return equivalent_threshold(threshold, tokens)
    linear = config.get("time_shift_type") == "linear"
    return equivalent_threshold(threshold, tokens, shift=mu / reference if linear else math.exp(mu - reference))


def _pixels_of_token(pipe: Any) -> int:
    """Pixels a side of what one image token shows, in one latent frame of a video."""
    name = type(pipe).__name__
    if name not in _PATCHING:
        # Pipelines that pack latents make one token of two by two.
        return 2 * pipe.vae_scale_factor
    patch = pipe.transformer.config.patch_size
    patch = patch if isinstance(patch, int) else patch[-1]
    return patch * (pipe.vae_scale_factor if hasattr(pipe, "vae_scale_factor") else pipe.vae_scale_factor_spatial)
