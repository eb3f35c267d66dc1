"""Which of the world's textures a segment of an image has: its dark pixels against every texture in every phase."""

from functools import cache

import numpy as np
from scipy import ndimage

from lab.world.geometry import CANVAS
from lab.world.render import DARK, texture_dark
from lab.world.vocabulary import TEXTURES

# Pixels, along both axes, by which a drawn texture may be off its object's centre.
SHIFTS = np.arange(-1.5, 2, 0.5)
# Mean darkness below which an object is plain: drawn or generated, those have up to .14, and textured ones .22 or more.
PLAIN = 0.18
CERTAIN = 0.55  # correlation with a texture at which it is certain


def read_texture(pixels: np.ndarray, mask: np.ndarray, centre: tuple[float, float]) -> tuple[str, float]:
    """The texture whose dark parts correlate best with a segment's brightness, and how sure that is, in [0, 1].

    Args:
        pixels: the image, 0..255 (CANVAS, CANVAS, 3).
        mask: the segment, boolean (CANVAS, CANVAS).
        centre: of the object, (x, y) in whole pixels.
    """
    core = ndimage.binary_erosion(mask) if mask.sum() > 120 else mask
    core = core if core.sum() >= 20 else mask
    rows, columns = np.nonzero(core)
    brightness = pixels[rows, columns].max(-1)
    light = np.percentile(brightness, 90)
    darkness = np.clip((1 - brightness / light) / (1 - DARK), 0, 1)
    if darkness.mean() < PLAIN:
        return "plain", 1.0
    x, y = (np.asarray(place - middle, int) + CANVAS for place, middle in zip((columns, rows), centre, strict=True))
    scores = {texture: _correlation(_patterns(texture)[:, y, x], darkness).max() for texture in TEXTURES[1:]}
    best = max(scores, key=scores.get)
    return best, float(np.clip(scores[best] / CERTAIN, 0, 1))


@cache
def _patterns(texture: str) -> np.ndarray:
    """The texture's dark share of each pixel about an object's centre, by phase: (phase, 2 CANVAS, 2 CANVAS)."""
    # Four points in each pixel.
    axis = np.arange(-CANVAS, CANVAS)[:, None] + (0.25, 0.75)
    drawn = [texture_dark(texture, axis.ravel() - dx, axis.reshape(-1, 1) - dy) for dx in SHIFTS for dy in SHIFTS]
    size = 2 * CANVAS
    return np.reshape(drawn, (-1, size, 2, size, 2)).mean((2, 4), dtype=np.float32)


def _correlation(patterns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Pearson correlation of each row of `patterns` (P, N) with `values` (N,)."""
    patterns = patterns - patterns.mean(1, keepdims=True)
    values = values - values.mean()
    norm = np.linalg.norm(patterns, axis=1) * np.linalg.norm(values)
    return patterns @ values / np.maximum(norm, 1e-6)
