"""The benchmark's 3-in-1 score of complex prompts: attributes, positions and CLIP similarity in one number."""

from collections.abc import Mapping, Sequence

PARTS = ("attribute", "spatial", "clip")


def three_in_one(scores: Mapping[str, Sequence[float]]) -> list[float]:
    """Mean of the three parts, image by image."""
    return [sum(parts) / len(PARTS) for parts in zip(*(scores[part] for part in PARTS), strict=True)]
