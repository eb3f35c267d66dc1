"""The training loss (Eq. 13): velocity under flow matching, at timesteps where TACA acts."""

from collections.abc import Mapping

import torch


def sample_timesteps(count: int, threshold: float, generator: torch.Generator) -> torch.Tensor:
    """Timesteps uniform in [threshold, 1000], shape (count,).

    The paper gives the range and no distribution; uniform is an assumption.
    """
    return threshold + (1000 - threshold) * torch.rand(count, generator=generator)


def velocity_loss(
    transformer: torch.nn.Module,
    batch: Mapping[str, torch.Tensor],
    noise: torch.Tensor,
    timestep: torch.Tensor,
) -> torch.Tensor:
    """Mean squared error of the predicted velocity (Eq. 13), a scalar.

    Args:
        batch: clean scaled `latents` (B, C, H, W), `prompt_embeds` (B, L, D), `pooled_prompt_embeds` (B, P).
        noise: (B, C, H, W).
        timestep: (B,) on the 0..1000 scale; x_t = (1 - t/1000) x_0 + t/1000 noise, whose velocity is noise - x_0.
    """
    sigma = (timestep / 1000).reshape(-1, 1, 1, 1)
    noisy = torch.lerp(batch["latents"], noise, sigma)
    velocity = transformer(
        hidden_states=noisy,
        timestep=timestep,
        encoder_hidden_states=batch["prompt_embeds"],
        pooled_projections=batch["pooled_prompt_embeds"],
        return_dict=False,
    )[0]
    return (velocity.float() - (noise - batch["latents"])).square().mean()
