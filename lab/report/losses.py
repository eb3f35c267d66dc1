"""Held-out losses of a base with and without an adapter, under gamma and without, on the same noise."""

from collections.abc import Sequence
from pathlib import Path

import torch

from lab.data.encoded import read_buckets
from lab.models.family import family_of
from lab.training.batches import Batches
from lab.training.frozen import load_frozen
from lab.training.lora import WEIGHTS
from lab.training.loss import sample_timesteps, velocity_loss
from taca.hooks import taca

SEED = 0  # of noise and timesteps


@torch.no_grad()
def held_out_losses(
    base: Path, encoded: Path, lora: Path | None, settings, gammas: Sequence[float], threshold: float
) -> list[float]:
    """The velocity loss (Eq. 13, against the data) at timesteps from `threshold` to 1000, for each gamma.

    Args:
        lora: an adapter's folder; None: the base alone.
        settings: as section `train` has them.
    """
    transformer = load_frozen(base, settings.precision)
    if lora is not None:
        transformer.load_lora_adapter(str(lora), weight_name=WEIGHTS)
    family, batches = family_of(transformer), Batches(read_buckets(encoded), settings.held_out)
    found = []
    for gamma in gammas:
        generator, losses = torch.Generator().manual_seed(SEED), []
        with taca(transformer, gamma=gamma, threshold=0.0):
            for batch in batches.held_out(settings.batch_size):
                timestep = sample_timesteps(len(batch["latents"]), threshold, generator)
                noise = torch.randn(batch["latents"].shape, generator=generator)
                loss = velocity_loss(transformer, family, batch, noise, timestep, family.guidance(settings.guidance))
                losses += [loss.item()] * len(timestep)
        found.append(sum(losses) / len(losses))
    return found
