"""Trains the autoencoder and fixes its latents' scale."""

import torch
from diffusers import AutoencoderKL

from lab.models.builtin.config import BuiltinConfig
from lab.models.builtin.dataset import Dataset
from lab.models.builtin.optimization import train
from lab.world.geometry import CANVAS

# Strong enough that latents keep some noise: a decoder that never met any draws ragged outlines from generated ones.
KL_WEIGHT = 3e-3
ENCODE_BATCH = 128
# Objects cover a tenth of a picture; unweighted, the flat ground would be all that the loss sees.
OBJECT_WEIGHT = 10.0
# The first part of training sees crops, which cost a quarter; the last part whole pictures, as they will come.
CROP, CROPPED_PART = CANVAS // 2, 0.8


def train_autoencoder(vae: AutoencoderKL, data: Dataset, config: BuiltinConfig, work, log) -> None:
    """Weighted absolute and squared error of the pictures; latents are lightly pulled to a standard normal."""
    vae.to(memory_format=torch.channels_last).train()
    batch = config.batch_size // 4

    def loss_of(generator, step):
        images = data.images(torch.randint(len(data.pixels), (batch,), generator=generator))
        weight = 1 + OBJECT_WEIGHT * _objects(images)
        if step < CROPPED_PART * config.autoencoder_steps:
            images, weight = _crop(torch.cat([images, weight], 1), generator).split([3, 1], 1)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            mean, log_variance = vae.encoder(images).float().chunk(2, dim=1)
            log_variance = log_variance.clamp(-30, 20)
            noise = torch.randn(mean.shape, generator=generator)
            decoded = vae.decoder(mean + noise * torch.exp(0.5 * log_variance)).float()
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        error = (decoded - images).abs() + (decoded - images).square()
        return (weight / weight.mean() * error).mean() + KL_WEIGHT * divergence

    train(
        "autoencoder",
        {"vae": vae},
        loss_of,
        steps=config.autoencoder_steps,
        learning_rate=config.autoencoder_learning_rate,
        seed=config.seed,
        work=work,
        log=log,
    )
    vae.eval()


def _objects(images: torch.Tensor) -> torch.Tensor:
    """1 where a picture differs from its ground, else 0, shape (B, 1, H, W); the ground is the lightest grey."""
    ground = images.amin(1, keepdim=True).amax((2, 3), keepdim=True)
    return ((images - ground).abs().amax(1, keepdim=True) > 0.05).float()


def _crop(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    top, left = torch.randint(CANVAS - CROP + 1, (2,), generator=generator).tolist()
    return images[:, :, top : top + CROP, left : left + CROP]


@torch.no_grad()
def encode_all(vae: AutoencoderKL, data: Dataset) -> torch.Tensor:
    """Mean latents of every picture, float32 (N, C, 16, 16), unscaled."""
    parts = []
    for index in torch.arange(len(data.pixels)).split(ENCODE_BATCH):
        images = data.images(index).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(vae.encoder(images).float().chunk(2, dim=1)[0])
    return torch.cat(parts).contiguous()


def fix_scale(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Stores shift and scaling factor so that scaled latents have mean 0 and variance 1; returns them scaled."""
    shift, scale = round(latents.mean().item(), 4), round(1 / latents.std().item(), 4)
    vae.register_to_config(shift_factor=shift, scaling_factor=scale)
    return (latents - shift) * scale
