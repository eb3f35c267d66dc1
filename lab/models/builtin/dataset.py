"""Training pictures and captions of the base, drawn from a seed."""

from dataclasses import dataclass

import numpy as np
import torch

from lab.world.captions import caption
from lab.world.render import render
from lab.world.scene import sample_scene

CAPTIONS_PER_SCENE = 4


@dataclass(frozen=True)
class Dataset:
    """`pixels` uint8 (N, 3, 64, 64) and `captions`, `CAPTIONS_PER_SCENE` for each picture."""

    pixels: torch.Tensor
    captions: list[list[str]]

    def images(self, index: torch.Tensor) -> torch.Tensor:
        """Pictures as float32 in [-1, 1], shape (len(index), 3, 64, 64)."""
        return self.pixels[index].float() / 127.5 - 1


def draw_dataset(scenes: int, seed: int) -> Dataset:
    """`scenes` pictures of random scenes, each with several exact captions."""
    rng = np.random.default_rng(seed)
    drawn = [sample_scene(rng) for _ in range(scenes)]
    captions = [[caption(scene, rng) for _ in range(CAPTIONS_PER_SCENE)] for scene in drawn]
    pixels = np.stack([np.asarray(render(scene)) for scene in drawn])
    return Dataset(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), captions)
