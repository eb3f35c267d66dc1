"""Thresholds that were chosen for pictures of another number of image tokens."""

from collections.abc import Mapping

from lab.models.family import Family, shift_of
from taca.schedule import equivalent_threshold


def threshold_at(threshold: float, chosen_at: int | None, scheduler: Mapping, tokens: int) -> float:
    """The threshold for pictures of `tokens` image tokens.

    Args:
        chosen_at: the number of image tokens that `threshold` was chosen at; None: it is meant as it is.
        scheduler: the configuration of the base's, as its file has it.
    """
    if chosen_at is None:
        return threshold
    dynamic = scheduler.get("use_dynamic_shifting", False)
    shift = shift_of(scheduler, tokens) / shift_of(scheduler, chosen_at) if dynamic else None
    return equivalent_threshold(threshold, tokens, chosen_at, shift)


def tokens_of(family: Family, vae_scale: int, height: int | None, width: int | None) -> int:
    """Image tokens of a picture of this size in pixels; None is the base's own."""
    sides = (family.default_size if side is None else side // vae_scale for side in (height, width))
    rows, columns = (side // family.patch for side in sides)
    return rows * columns
