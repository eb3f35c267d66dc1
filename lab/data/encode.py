"""Encodes images and captions once, so that training needs neither autoencoder nor text encoders."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from lab.data.images import read_image

KEYS = ("latents", "prompt_embeds", "pooled_prompt_embeds")


def encode(pipe, folder: Path, rows: Sequence[dict], batch_size: int, max_sequence_length: int, target: Path) -> None:
    """Writes shards of `batch_size` samples to `target`: scaled latents (B, C, H, W) and embeddings, float32.

    Args:
        pipe: a `StableDiffusion3Pipeline`, whose own methods encode, so that training meets what generation meets.
        rows: `path` (relative to `folder`) and `caption` of each sample.
        max_sequence_length: T5 tokens.
    """
    target.mkdir(parents=True, exist_ok=True)
    for start in tqdm(range(0, len(rows), batch_size), desc="encode", unit="shard", disable=None):
        batch = rows[start : start + batch_size]
        images = [read_image(folder / row["path"]) for row in batch]
        tensors = {
            "latents": encode_images(pipe, images),
            **encode_prompts(pipe, [row["caption"] for row in batch], max_sequence_length),
        }
        tensors = {key: value.float().cpu().contiguous() for key, value in tensors.items()}
        save_file(tensors, target / f"shard-{start // batch_size:05d}.safetensors")


@torch.no_grad()
def encode_images(pipe, images: Sequence[Image.Image]) -> torch.Tensor:
    """Scaled latents (B, C, H, W) of images brought to the pipeline's default size: the distribution's mean."""
    size = pipe.default_sample_size * pipe.vae_scale_factor
    pixels = pipe.image_processor.preprocess(list(images), height=size, width=size, resize_mode="crop")
    latents = pipe.vae.encode(pixels.to(pipe.vae.device, pipe.vae.dtype)).latent_dist.mode()
    return (latents - pipe.vae.config.shift_factor) * pipe.vae.config.scaling_factor


@torch.no_grad()
def encode_prompts(pipe, prompts: Sequence[str], max_sequence_length: int) -> dict[str, torch.Tensor]:
    """`prompt_embeds` (B, L, D) and `pooled_prompt_embeds` (B, P) of the prompts."""
    prompt_embeds, _, pooled, _ = pipe.encode_prompt(
        prompt=list(prompts),
        prompt_2=None,
        prompt_3=None,
        do_classifier_free_guidance=False,
        max_sequence_length=max_sequence_length,
    )
    return {"prompt_embeds": prompt_embeds, "pooled_prompt_embeds": pooled}


def read_encoded(folder: Path) -> dict[str, torch.Tensor]:
    """All shards of `encode` as one mapping of `KEYS` to tensors."""
    shards = [load_file(path) for path in sorted(folder.glob("shard-*.safetensors"))]
    return {key: torch.cat([shard[key] for shard in shards]) for key in KEYS}
