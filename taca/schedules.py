"""How pipelines make their schedules, before anything is drawn."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import torch

from taca.errors import TacaError

Schedule = Callable[[Any, int, int, int], dict[str, Any]]
"""What a pipeline passes to its scheduler's `set_timesteps`, from the pipeline, its steps, height and width."""


def schedule_of(pipe: object) -> Schedule:
    """How a pipeline makes its schedule.

    Raises:
        TacaError: not from its arguments alone.
    """
    schedule = _SCHEDULES.get(type(pipe).__name__)
    if schedule is None:
        raise TacaError(
            f"The schedule of {type(pipe).__name__} is not known before it runs: pass one of {', '.join(_SCHEDULES)}."
        )
    return schedule


def check_counts(**counts: object) -> None:
    """Raises: TacaError: one of them is no whole number above 0."""
    for name, count in counts.items():
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
            raise TacaError(f"`{name}` must be a whole number above 0, got {count!r}.")


def _sd3(pipe: Any, steps: int, height: int, width: int) -> dict[str, Any]:
    if not pipe.scheduler.config.get("use_dynamic_shifting"):
        return {"num_inference_steps": steps}
    pixels = pipe.vae_scale_factor * pipe.transformer.config.patch_size
    return {"num_inference_steps": steps, "mu": _linear_shift(pipe, (height // pixels) * (width // pixels), 1.16)}


def _packed(pipe: Any, steps: int, height: int, width: int) -> dict[str, Any]:
    """FLUX.1, Qwen-Image and their like: two by two latent pixels a token."""
    return {**_sigmas(pipe, steps), "mu": _linear_shift(pipe, _packed_tokens(pipe, height, width), 1.15)}


def _z_image(pipe: Any, steps: int, height: int, width: int) -> dict[str, Any]:
    from diffusers.pipelines.z_image.pipeline_z_image import get_default_z_image_sigmas

    return {**_packed(pipe, steps, height, width), "sigmas": get_default_z_image_sigmas(steps)}


def _flux2(pipe: Any, steps: int, height: int, width: int) -> dict[str, Any]:
    from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

    return {**_sigmas(pipe, steps), "mu": compute_empirical_mu(_packed_tokens(pipe, height, width), steps)}


def _krea2(pipe: Any, steps: int, height: int, width: int) -> dict[str, Any]:
    if pipe.config.is_distilled:
        return {**_sigmas(pipe, steps), "mu": 1.15}
    tokens = _packed_tokens(pipe, height, width)
    return {**_sigmas(pipe, steps), "mu": _linear_shift(pipe, tokens, 1.15, max_tokens=6400)}


def _lumina2(pipe: Any, steps: int, height: int, width: int) -> dict[str, Any]:
    # The pipeline takes the latents' channels for their tokens.
    return {**_sigmas(pipe, steps), "mu": _linear_shift(pipe, pipe.transformer.config.in_channels, 1.15)}


def _scheduler_alone(pipe: Any, steps: int, height: int, width: int) -> dict[str, Any]:
    return {"num_inference_steps": steps}


def _hunyuan_video(pipe: Any, steps: int, height: int, width: int) -> dict[str, Any]:
    return {"sigmas": np.linspace(1.0, 0.0, steps + 1)[:-1]}


def _ernie_image(pipe: Any, steps: int, height: int, width: int) -> dict[str, Any]:
    return {"sigmas": torch.linspace(1.0, 0.0, steps + 1)[:-1]}


def _sigmas(pipe: Any, steps: int) -> dict[str, Any]:
    if pipe.scheduler.config.get("use_flow_sigmas"):
        return {"num_inference_steps": steps}
    return {"sigmas": np.linspace(1.0, 1 / steps, steps)}


def _packed_tokens(pipe: Any, height: int, width: int) -> int:
    pixels = 2 * pipe.vae_scale_factor
    return (height // pixels) * (width // pixels)


def _linear_shift(pipe: Any, image_tokens: int, max_shift: float, max_tokens: int = 4096) -> float:
    """Linear in the number of image tokens; the defaults are those of the pipelines."""
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    config = pipe.scheduler.config
    return calculate_shift(
        image_tokens,
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", max_tokens),
        config.get("base_shift", 0.5),
        config.get("max_shift", max_shift),
    )


_SCHEDULES: dict[str, Schedule] = {
    "StableDiffusion3Pipeline": _sd3,
    "FluxPipeline": _packed,
    "Flux2Pipeline": _flux2,
    "Flux2KleinPipeline": _flux2,
    "QwenImagePipeline": _packed,
    "ZImagePipeline": _z_image,
    "ChromaPipeline": _packed,
    "OvisImagePipeline": _packed,
    "LongCatImagePipeline": _packed,
    "NucleusMoEImagePipeline": _packed,
    "Krea2Pipeline": _krea2,
    "Lumina2Pipeline": _lumina2,
    "AuraFlowPipeline": _scheduler_alone,
    "PRXPipeline": _scheduler_alone,
    "ErnieImagePipeline": _ernie_image,
    "HunyuanImagePipeline": _hunyuan_video,
    "CogVideoXPipeline": _scheduler_alone,
    "HunyuanVideoPipeline": _hunyuan_video,
    "HunyuanVideo15Pipeline": _hunyuan_video,
}
