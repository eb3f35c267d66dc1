"""Thresholds taken to the size of a base's pictures."""

from pathlib import Path

from lab.generation.load import vae_scale_of
from lab.models.family import family_named
from lab.models.load import part_config, transformer_class
from lab.models.thresholds import threshold_at, tokens_of


def threshold_for(base: Path, threshold: float, chosen_at: int | None, height: int | None, width: int | None) -> float:
    """The threshold for pictures of this size in pixels, None being the base's own; else as `threshold_at`."""
    family = family_named(transformer_class(base), part_config(base, "transformer"))
    tokens = tokens_of(family, vae_scale_of(part_config(base, "vae")), height, width)
    return threshold_at(threshold, chosen_at, part_config(base, "scheduler"), tokens)
