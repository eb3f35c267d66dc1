"""How families tell a transformer the noise level, and how it is read from what they tell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from taca.errors import TacaError
from taca.schedule import is_active, level_of_index


@dataclass(frozen=True)
class Timestep:
    """The argument of a transformer's forward pass that says how noisy its input is.

    Attributes:
        argument: its name.
        scale: takes it to 0..1000.
        backwards: whether it counts from noise to image, as 1000 minus the noise level does.
        offset: what a pipeline adds to the noise level.
        drawn: where tokens have levels of their own, and samples share them: that of the image which is drawn, from the
            levels and all arguments, shape (1,).
    """

    argument: str = "timestep"
    scale: float = 1.0
    backwards: bool = False
    offset: float = 0.0
    drawn: Callable[[torch.Tensor, Mapping], torch.Tensor] | None = None

    def given(self, arguments: Mapping) -> torch.Tensor:
        """What the pass was given, flat.

        Raises:
            TacaError: it was given none.
        """
        if arguments.get(self.argument) is None:
            raise TacaError(f"TACA decides by `{self.argument}`, and this forward pass got none: pass it by name.")
        given = torch.as_tensor(arguments[self.argument]).flatten()
        return given if self.drawn is None else self.drawn(given, arguments)

    def level(self, given: torch.Tensor) -> torch.Tensor:
        """The noise level, 0..1000 (1000 is pure noise), of what a pass was given."""
        level = given.to(torch.float32) * self.scale - self.offset
        return 1000 - level if self.backwards else level

    def at(self, level: torch.Tensor) -> torch.Tensor:
        """What a pass is given at a noise level."""
        return ((1000 - level if self.backwards else level) + self.offset) / self.scale

    def above(self, given: torch.Tensor, threshold: float) -> torch.Tensor:
        """Which samples are at or above a threshold, compared as they were given: a product would be rounded."""
        bound = self.at(threshold)
        if not self.backwards:
            return is_active(given, bound)
        # Pipelines subtract t / 1000 from 1, and so round by as much as a float32 below 1 does.
        return ~is_active(given, bound + torch.finfo(torch.float32).eps * max(1.0, bound))

    def scheduled(self, given: torch.Tensor, scheduler: object) -> torch.Tensor:
        """The noise levels of the scheduler's own timesteps behind those that a pass was given.

        Pipelines round them to the latents' dtype. A timestep may lie within that rounding of several of the schedule's
        points; it then is the scheduler's current one, or else the nearest. One near none of them stands for itself.

        Worked example, in bfloat16, whose numbers are 4 apart from 512 to 1024 and 1/256 apart from 0.5 to 1: a
        pipeline that passes t / 1000 rounds t = 966, 968 and 970 to 968, and 0.968 to 248/256, which times 1000 is
        968.75. At threshold 970 none would act, though one should. Each differs from 968.75 by less than the
        tolerance, 968.75 / 128 = 7.6; which of them it is, the scheduler knows: the step that it is at.

        Args:
            given: what the pass was given, shape (B,).
            scheduler: of a pipeline, with its `timesteps` set.

        Returns:
            float32 (B,), 0..1000.
        """
        levels = schedule_levels(scheduler).to(given.device)
        # The division by `scale` rounds a second time: half a unit in the last place each. A difference from 1 is
        # rounded as the 1 is.
        coarsest = given.dtype if given.dtype in (torch.float16, torch.bfloat16) else torch.float32
        told = given.to(torch.float32) * self.scale
        tolerance = torch.finfo(coarsest).eps * told.abs()
        if self.backwards:
            tolerance = tolerance + torch.finfo(torch.float32).eps * 1000
        points = self.at(levels) * self.scale
        nearest = (points - told[:, None]).abs().argmin(dim=1)
        current = torch.full_like(nearest, _current_index(scheduler, len(points)))
        found = torch.where((points[current] - told).abs() <= tolerance, current, nearest)
        return torch.where((points[found] - told).abs() <= tolerance, levels[found], self.level(given))


def noise_of(level: torch.Tensor, scheduler: object) -> torch.Tensor:
    """The noise levels, 0..1000, at timesteps on that scale: diffusion's count steps of training, and are none.

    Flow matching's timesteps, also of a diffusion scheduler with flow matching's sigmas, are returned as they are.
    """
    alphas_cumprod = getattr(scheduler, "alphas_cumprod", None)
    if alphas_cumprod is None or scheduler.config.get("use_flow_sigmas"):
        return level
    return level_of_index(level * len(alphas_cumprod) / 1000, alphas_cumprod)


def schedule_levels(scheduler: object) -> torch.Tensor:
    """The noise levels, 0..1000, of a scheduler's timesteps."""
    points = torch.as_tensor(scheduler.timesteps).to(torch.float32)
    if "num_train_timesteps" not in scheduler.config:
        # MiniMax-H3's counts as its transformer does, from 0, which is noise, to 1.
        return 1000 - 1000 * points
    scale = 1000 / scheduler.config.num_train_timesteps
    points = points if scale == 1 else points * scale
    return 1000 - points if scheduler.config.get("invert_sigmas", False) else points


def _current_index(scheduler: object, points: int) -> int:
    index = getattr(scheduler, "step_index", None)
    if index is None:
        index = getattr(scheduler, "begin_index", None) or 0
    return min(index, points - 1)
