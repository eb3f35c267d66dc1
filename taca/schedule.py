"""When TACA acts: gamma as a function of the timestep. Equation numbers are those of arXiv 2506.07986."""

import math

import torch

from taca.errors import TacaError
from taca.reals import real

REFERENCE_TOKENS = 4096
"""Image tokens of 1024 x 1024 pixels, for which the paper chose 970."""


def equivalent_threshold(
    threshold: float, tokens: int, reference_tokens: int = REFERENCE_TOKENS, shift: float | None = None
) -> float:
    """The noise level that hides as much of an image of another size as `threshold` does at `reference_tokens`.

    A larger image has more pixels that show the same content, so that the same noise hides less of it: 970 at 4,096
    tokens is 941.75 at 1,024 and 801.65 at 64.

    Args:
        threshold: on the scheduler's 0..1000 scale, chosen for images of `reference_tokens`.
        tokens: image tokens of an image, or of one latent frame of a video. That the frames' layouts are decided one by
            one is an assumption.
        shift: s, where a scheduler has its own; sqrt(tokens / reference_tokens) if None.

    Returns:
        On the same scale. 0 and 1000 are unchanged.

    Raises:
        TacaError: a threshold outside 0..1000, or tokens or a shift that are not numbers above 0.
    """
    if not 0 <= real(threshold) <= 1000:
        raise TacaError(f"`threshold` must be a number from 0 to 1000, the scheduler's scale, got {threshold!r}.")
    for name, value in (("tokens", tokens), ("reference_tokens", reference_tokens), ("shift", shift)):
        if value is not None and not 0 < real(value) < math.inf:
            raise TacaError(f"`{name}` must be a finite number above 0, got {value!r}.")
    if shift is None:
        shift = math.sqrt(tokens / reference_tokens)
    # Esser et al. 2024 (arXiv 2403.03206), eq. 23: t_n = s t / (1 + (s - 1) t), written so that 1 stays 1.
    level = threshold / 1000
    return 1000 * (shift * level / (1 - level + shift * level))


def level_of_index(index: torch.Tensor, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """The noise levels of a diffusion scheduler's timesteps, which count its steps of training and are no levels.

    Args:
        index: of steps of training, any shape; what lies between two of them goes to the nearest.
        alphas_cumprod: the share of the image's variance after each step, (steps,).

    Returns:
        The weight of the noise where weights of image and noise add up to 1, as in flow matching; float64, 0..1000.
    """
    steps = index.round().long().clamp(0, len(alphas_cumprod) - 1)
    image = alphas_cumprod.to(torch.float64).to(index.device)[steps]
    noise = (1 - image).clamp_min(0).sqrt()
    return 1000 * noise / (image.sqrt() + noise)


def is_active(timestep: torch.Tensor, threshold: float) -> torch.Tensor:
    """Which samples TACA acts on: those at or above the threshold.

    Args:
        timestep: on the scheduler's 0..1000 scale (1000 is pure noise), any shape and dtype.
        threshold: on the same scale.

    Returns:
        Boolean tensor of `timestep`'s shape.
    """
    # Compared in a 16-bit dtype, the threshold itself would be rounded. bfloat16 keeps 8 bits: from 512 to 1024 its
    # numbers are 4 apart, so 970 would become 968, and the step at t = 968 would act, which is below the threshold.
    return timestep.to(torch.promote_types(timestep.dtype, torch.float32)) >= threshold


def gamma_of(active: torch.Tensor, gamma: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """gamma(t) for each sample.

    Args:
        active: which samples `is_active` names, boolean of any shape.
        gamma: the factor gamma_0 of the active steps.
        dtype: of the result.

    Returns:
        Tensor of `active`'s shape and device.
    """
    # Eq. 11: gamma(t) = gamma_0 for t >= t_thresh, else 1.
    return torch.ones(active.shape, dtype=dtype, device=active.device).masked_fill(active, gamma)
