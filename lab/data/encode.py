"""Encodes images and captions once, so that training needs neither autoencoder nor text encoders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from tqdm import tqdm

from lab.data.ahead import Ahead
from lab.data.captioned import CaptionedImage
from lab.data.crops import Size, crop, nearest
from lab.data.encoded import EMPTY_CAPTION
from lab.data.images import read_image
from lab.models.family import Family


@dataclass(frozen=True)
class Shard:
    """Samples of one size that make a file."""

    number: int
    size: Size
    samples: Sequence[int]

    @property
    def name(self) -> str:
        return f"shard-{self.number:05d}.safetensors"


@dataclass(frozen=True)
class Encoder:
    """What encodes, and how.

    Attributes:
        pipe: a pipeline whose own methods encode, so that training meets what generation meets; of its parts, the text
            encoders give the embeddings' dtype.
        sizes: crops that images are brought to, each to the one nearest in shape.
        max_sequence_length: T5 tokens.
    """

    pipe: object
    family: Family
    sizes: Sequence[Size]
    max_sequence_length: int

    def encode(self, folder: Path, samples: Sequence[CaptionedImage], batch_size: int, target: Path) -> None:
        """Writes shards of up to `batch_size` samples of one size: latents (B, C, H, W) in float32, text embeddings.

        A shard that is in `target` already is kept. In memory are two shards' images and one shard's tensors.

        Args:
            folder: what paths of samples start from.
        """
        target.mkdir(parents=True, exist_ok=True)
        shards = shards_of(samples, self.sizes, batch_size)
        missing = [shard for shard in shards if not (target / shard.name).exists()]

        def read(shard: Shard) -> list[Image.Image]:
            return [read_image(folder / samples[index].path) for index in shard.samples]

        images_ahead = Ahead(read, missing)
        for shard, images in tqdm(images_ahead, total=len(missing), desc="encode", unit="shard", disable=None):
            captions = [samples[index].caption for index in shard.samples]
            latents = {"latents": encode_images(self.pipe, images, shard.size)}
            _save(latents | self._embed(captions), target / shard.name)

    def encode_empty_caption(self, target: Path) -> None:
        """Writes the text embeddings of no caption to `target`, for training that drops captions."""
        _save(self._embed([""]), target / EMPTY_CAPTION)

    def _embed(self, captions: Sequence[str]) -> dict[str, torch.Tensor]:
        return self.family.embed(self.pipe, captions, self.max_sequence_length)


def shards_of(samples: Sequence[CaptionedImage], sizes: Sequence[Size], batch_size: int) -> Iterator[Shard]:
    """Every shard, size by size, samples in their order."""
    chosen = [nearest(sizes, sample.width, sample.height) for sample in samples]
    number = 0
    for size in sizes:
        same = [index for index, found in enumerate(chosen) if found == size]
        for start in range(0, len(same), batch_size):
            yield Shard(number, size, same[start : start + batch_size])
            number += 1


@torch.no_grad()
def encode_images(pipe, images: Sequence[Image.Image], size: Size) -> torch.Tensor:
    """Scaled latents (B, C, H, W), float32, of images scaled and cropped to `size`: the distribution's mean.

    One draw from it for all epochs would be a fixed error; in 16 bits the mean's rounding would be the larger one.
    """
    pixels = pipe.image_processor.preprocess([crop(image, size) for image in images])
    latents = pipe.vae.encode(pixels.to(pipe.vae.device, pipe.vae.dtype)).latent_dist.mode()
    return (latents.float() - pipe.vae.config.shift_factor) * pipe.vae.config.scaling_factor


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Writes the file whole or not at all."""
    partial = path.with_suffix(".partial")
    save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, partial)
    partial.replace(path)
