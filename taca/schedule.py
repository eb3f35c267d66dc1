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


def scheduled_timestep(timestep: torch.Tensor, scale: float, scheduler: object) -> torch.Tensor:
    """The scheduler's own timesteps behind those that a forward pass was given.

    Pipelines round them to the latents' dtype. A timestep may lie within that rounding of several of the schedule's
    points; it then is the scheduler's current one, or else the nearest.

    Args:
        timestep: as the pass was given it, shape (B,).
        scale: takes it to the scheduler's 0..1000 scale.
        scheduler: of a pipeline, with its `timesteps` set.

    Returns:
        float32 (B,), on the 0..1000 scale; a timestep near none of the schedule's points is returned as it came.
    """
    given = timestep.to(torch.float32) * scale
    # The division by `scale` rounds a second time: half a unit in the last place each.
    coarsest = timestep.dtype if timestep.dtype in (torch.float16, torch.bfloat16) else torch.float32
    tolerance = torch.finfo(coarsest).eps * given
    points = torch.as_tensor(scheduler.timesteps).to(given.device, torch.float32)
    nearest = points[(points - given[:, None]).abs().argmin(dim=1)]
    current = points[_current_index(scheduler, len(points))]
    found = torch.where((current - given).abs() <= tolerance, current, nearest)
    return torch.where((found - given).abs() <= tolerance, found, given)


def _current_index(scheduler: object, points: int) -> int:
    index = getattr(scheduler, "step_index", None)
    if index is None:
        index = getattr(scheduler, "begin_index", None) or 0
    return min(index, points - 1)
