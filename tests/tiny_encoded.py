"""Encoded samples of random numbers, in the shapes that the tiny bases take."""

from pathlib import Path

import torch
from safetensors.torch import save_file

# Widths of text embeddings, pooled and not.
SD3, FLUX = (128, 128), (128, 64)


def encoded(
    folder: Path,
    count: int = 20,
    widths: tuple[int, int] = SD3,
    size: tuple[int, int] = (16, 16),
    dtype: torch.dtype = torch.float32,
    fill: float | None = None,
    first: int = 0,
    rows: int = 8,
) -> Path:
    """Writes `count` samples with latents (4, *size) to shards of `rows`, numbered from `first`; returns the folder."""
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(first)
    for number, start in enumerate(range(0, count, rows), first):
        found = min(rows, count - start)
        latents = torch.randn(found, 4, *size, generator=generator)
        tensors = {
            "latents": latents if fill is None else torch.full_like(latents, fill),
            "prompt_embeds": torch.randn(found, 16, widths[0], generator=generator).to(dtype),
            "pooled_prompt_embeds": torch.randn(found, widths[1], generator=generator).to(dtype),
        }
        save_file(tensors, folder / f"shard-{number:05d}.safetensors")
    return folder
