"""The training loss (Eq. 13): velocity under flow matching, at timesteps where TACA acts."""

from collections.abc import Callable, Mapping

import torch

from lab.models.family import Family, shift_of


def sample_timesteps(
    count: int, threshold: float, generator: torch.Generator, shift: float | None = None
) -> torch.Tensor:
    """Timesteps in [threshold, 1000], shape (count,).

    The paper gives the range and no distribution; both are assumptions.

    Args:
        shift: None: uniform. Else uniform before the schedule's shift by this factor, so as dense as the steps at which
            images are drawn.
    """
    uniform = torch.rand(count, generator=generator)
    if shift is None:
        return threshold + (1000 - threshold) * uniform
    # The shift's inverse is the shift by 1 / s.
    lowest = _shifted(torch.tensor(threshold / 1000), 1 / shift)
    return (1000 * _shifted(lowest + (1 - lowest) * uniform, shift)).clamp(threshold, 1000)


def _shifted(sigma: torch.Tensor, shift: float) -> torch.Tensor:
    return shift * sigma / (1 + (shift - 1) * sigma)


def schedule_shift(scheduler: Mapping, patch: int) -> Callable[[int, int], float]:
    """The shift of a scheduler's configuration, by the latents' height and width."""
    return lambda height, width: shift_of(scheduler, (height // patch) * (width // patch))


def predicted_velocity(
    transformer: torch.nn.Module,
    family: Family,
    batch: Mapping[str, torch.Tensor],
    noise: torch.Tensor,
    timestep: torch.Tensor,
    guidance: float | None = None,
) -> torch.Tensor:
    """The velocity (B, C, H, W) that the transformer predicts, in float32. Takes what `velocity_loss` does."""
    sigma = (timestep / 1000).reshape(-1, 1, 1, 1)
    noisy = torch.lerp(batch["latents"], noise, sigma)
    output = transformer(**family.arguments(noisy, timestep, batch, guidance), return_dict=False)[0]
    return family.velocity(output, *noisy.shape[-2:]).float()


def velocity_loss(
    transformer: torch.nn.Module,
    family: Family,
    batch: Mapping[str, torch.Tensor],
    noise: torch.Tensor,
    timestep: torch.Tensor,
    guidance: float | None = None,
    moved: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Mean squared error of the predicted velocity (Eq. 13), a scalar.

    Args:
        batch: clean scaled `latents` (B, C, H, W), `prompt_embeds` (B, L, D), `pooled_prompt_embeds` (B, P).
        noise: (B, C, H, W).
        timestep: (B,) on the 0..1000 scale; x_t = (1 - t/1000) x_0 + t/1000 noise, whose velocity is noise - x_0.
        guidance: what the transformer embeds as guidance, if it does.
        moved: what is added to the velocity that is aimed at, (B, C, H, W).
    """
    velocity = predicted_velocity(transformer, family, batch, noise, timestep, guidance)
    return (velocity - (noise - batch["latents"] + moved)).square().mean()
