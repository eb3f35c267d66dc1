"""The built-in world as a source of stage `sample`: scenes with noisy alt texts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lab.world.captions import alt_text
from lab.world.render import render
from lab.world.scene import sample_scene


@dataclass(frozen=True)
class Source:
    """Section `sample` of params.yaml; `folder` is that of the code which draws."""

    folder: str
    size: int
    seed: int

    def images(self, _places, _record) -> Iterator[tuple[Image.Image, str, str]]:
        """Images, words and where they come from, one after the other."""
        rng = np.random.default_rng(self.seed)
        for _ in range(self.size):
            scene = sample_scene(rng)
            yield render(scene), alt_text(scene, rng), "world"
