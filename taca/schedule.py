"""When TACA acts: gamma as a function of the timestep. Equation numbers are those of arXiv 2506.07986."""

import torch


def is_active(timestep: torch.Tensor, threshold: float) -> torch.Tensor:
    """Which samples TACA acts on: those at or above the threshold.

    Args:
        timestep: on the scheduler's 0..1000 scale (1000 is pure noise), any shape and dtype.
        threshold: on the same scale.

    Returns:
        Boolean tensor of `timestep`'s shape.
    """
    # Compared in a 16-bit dtype, the threshold itself would be rounded: 970 is no bfloat16 number.
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
