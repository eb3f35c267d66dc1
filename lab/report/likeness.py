"""How near images are to rendered scenes, and how different one prompt's images are, by the base's CLIP model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.linalg import sqrtm

from compbench.scorers.clip import ClipScorer
from compbench.statistics import Interval, mean_interval
from lab.world.render import render
from lab.world.scene import sample_scene

BATCH = 200
SCENES, SEED = 2000, 26120002  # rendered scenes, which no training saw


def likeness(clip: Path, images: Mapping[str, Sequence[tuple[Path, int]]]) -> dict[str, tuple[float, Interval | None]]:
    """By name, the Fréchet distance of images to rendered scenes and how different those of one prompt are.

    Args:
        clip: the folder of the model.
        images: their files and the numbers of their prompts.
    """
    scorer, found = ClipScorer.from_folder(clip), {}
    rendered = features(scorer, scenes())
    for name, own in images.items():
        seen = features(scorer, opened([path for path, _ in own]))
        found[name] = frechet(seen, rendered), diversity(seen, [prompt for _, prompt in own])
    return found


@torch.inference_mode()
def features(scorer: ClipScorer, images: Iterable[Image.Image]) -> np.ndarray:
    """Normalised image features (images, width)."""
    left, found = iter(images), []
    while batch := [scorer.preprocess(image) for image in islice(left, BATCH)]:
        found.append(scorer.model.encode_image(torch.stack(batch), normalize=True))
    return torch.cat(found).double().numpy()


def scenes(count: int = SCENES, seed: int = SEED) -> Iterator[Image.Image]:
    """Scenes as the world draws them."""
    rng = np.random.default_rng(seed)
    return (render(sample_scene(rng)) for _ in range(count))


def opened(paths: Sequence[Path]) -> Iterator[Image.Image]:
    """The images of these files."""
    for path in paths:
        with Image.open(path) as image:
            yield image.convert("RGB")


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """Fréchet distance (Heusel et al., 2017, arXiv 1706.08500) of two sets of features; compare equal numbers alone."""
    spreads = [np.cov(found, rowvar=False) for found in (first, second)]
    apart = np.square(first.mean(0) - second.mean(0)).sum()
    return float(apart + np.trace(spreads[0] + spreads[1] - 2 * sqrtm(spreads[0] @ spreads[1]).real))


def diversity(found: np.ndarray, prompts: Sequence[int]) -> Interval | None:
    """Mean over prompts of 1 less the cosine of two of a prompt's images; None where prompts have one image alone."""
    places: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        places.setdefault(prompt, []).append(place)
    if all(len(own) == 1 for own in places.values()):
        return None
    distances = {
        prompt: float(np.mean([1 - found[i] @ found[j] for i, j in combinations(own, 2)]))
        for prompt, own in places.items()
    }
    return mean_interval(distances)
