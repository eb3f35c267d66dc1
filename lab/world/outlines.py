"""Which of the world's shapes a segment of an image is: its pixels against every shape in every size and place."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import fft

from lab.world.geometry import CANVAS, inside
from lab.world.vocabulary import SHAPES

SMALLEST, STEP = 5.0, 0.5  # radii, pixels
RADII = SMALLEST + STEP * np.arange(42)
# Radii that are tried around the one whose outline is as large as the segment, in steps.
AROUND = np.arange(-2, 5)
FREE_STRETCH = 0.12  # share by which a square may be longer than wide at no loss


@dataclass(frozen=True)
class Fit:
    """The best place of one shape: its `overlap` with a segment (intersection over union) and centre, whole pixels."""

    shape: str
    overlap: float
    centre: tuple[float, float]


def fit_shapes(mask: np.ndarray, hidden: np.ndarray) -> list[Fit]:
    """Each shape's best fit to a segment, best first.

    Args:
        mask: the segment, boolean (CANVAS, CANVAS).
        hidden: pixels that say nothing, since another object stands there, of the same kind; none in `mask`.
    """
    outlines, areas = _outlines()
    nearest = np.abs(areas - mask.sum()).argmin(1)
    radii = np.clip(nearest[:, None] + AROUND, 0, len(RADII) - 1)
    spectra = outlines[np.arange(len(SHAPES))[:, None], radii]
    inner = _shifted_sums(spectra, mask)
    # What is hidden of an outline is left out of it.
    visible = np.take_along_axis(areas, radii, 1)[..., None, None]
    if hidden.any():
        visible = visible - _shifted_sums(spectra, hidden)
    overlaps = inner / (mask.sum() + visible - inner)
    best = {shape: _best_place(shape, overlap) for shape, overlap in zip(SHAPES, overlaps, strict=True)}
    best["square"] = max(best["square"], _stretched_square(mask, hidden), key=lambda fit: fit.overlap)
    return sorted(best.values(), key=lambda fit: -fit.overlap)


def _best_place(shape: str, overlaps: np.ndarray) -> Fit:
    """The best of a shape's overlaps (radius, row, column), by its shift from the canvas's middle."""
    radius, down, right = np.unravel_index(overlaps.argmax(), overlaps.shape)
    centre = tuple(float((CANVAS // 2 + shift) % CANVAS) for shift in (right, down))
    return Fit(shape, float(overlaps[radius, down, right]), centre)


def _stretched_square(mask: np.ndarray, hidden: np.ndarray) -> Fit:
    """The rectangle around a segment: the other shapes keep their proportions, or fill less of it."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    filled = (mask | hidden)[box]
    stretch = min(filled.shape) / max(filled.shape)
    centre = ((columns[0] + columns[-1] + 1) // 2, (rows[0] + rows[-1] + 1) // 2)
    return Fit("square", float(filled.mean() * min(1.0, stretch + FREE_STRETCH)), tuple(map(float, centre)))


@cache
def _outlines() -> tuple[np.ndarray, np.ndarray]:
    """Spectra of all outlines about the canvas's middle (shape, radius, row, column), and their areas in pixels."""
    axis = np.arange(CANVAS) + 0.5 - CANVAS / 2
    drawn = [[inside(shape, axis / radius, axis[:, None] / radius) for radius in RADII] for shape in SHAPES]
    drawn = np.array(drawn, np.float32)
    return fft.rfft2(drawn).conj(), drawn.sum((-2, -1))


def _shifted_sums(spectra: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How many pixels of `mask` each outline covers, by its shift from the middle; whole numbers (..., row, column)."""
    return np.round(fft.irfft2(spectra * fft.rfft2(mask.astype(np.float32)), s=mask.shape))
