"""How large what is measured is: as published, or so small that a CPU does all of it in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Attributes: heads and double blocks of the transformers (None: as published), and the work done with them.

    `window` counts a model's training steps between two readings of the clock, `steps` an image's, `turns` the images
    that are timed of each way to draw, `repeats` those of one attention or one block.
    """

    name: str
    heads: int | None
    layers: int | None
    vae_channels: tuple[int, ...]
    latent_side: int
    text_tokens: dict[str, int]
    window: dict[str, int]
    steps: int
    turns: int
    repeats: int
    rank: int | None = None
    """Of all adapters; None: as their settings have it."""


FULL = Scale(
    "full", None, None, (128, 256, 512, 512), 128, {"SD3.5": 333, "FLUX": 512}, {"SD3.5": 5, "FLUX": 2}, 28, 2, 5
)
TINY = Scale("tiny", 2, 2, (32, 32, 32, 32), 8, {"SD3.5": 8, "FLUX": 8}, {"SD3.5": 1, "FLUX": 1}, 4, 1, 2, rank=4)
