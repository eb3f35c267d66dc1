"""Reads objects from the pixels of any image: segments by hue, then compares each segment with every shape and texture.

Nothing but the image goes in. Lengths are in pixels of the world's canvas; an image of another size is
resized to it first, and boxes are given in the image's own pixels.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image
from scipy import ndimage

from lab.world.geometry import CANVAS, inside, unit_extent
from lab.world.render import DARK, texture_dark
from lab.world.vocabulary import COLORS, SHAPES, TEXTURES

MIN_CHROMA = 36  # of 255: below it a pixel belongs to the background
MIN_AREA = 45  # pixels
MAX_EXTENT = 50  # pixels a side: anything larger is a coloured ground, not an object
MIN_CONFIDENCE = 0.3
# Overlap with the ideal outline at which a shape is doubtful and at which it is certain.
OVERLAP_RANGE = (0.60, 0.80)
# Mean distance from the colour's own range (dark to light), of 255, at which it is certain and at which it is not it.
COLOR_RANGE = (36, 72)
GROUND = 170  # of 255: a background pixel is at least this bright
# Share of an object's surroundings that is ground or another clean colour at which it stands apart: not at all, surely.
APART_RANGE = (0.35, 0.6)
# The best shape must beat the others' overlap by this much to be certain.
CERTAIN_MARGIN = 0.04


@dataclass(frozen=True)
class Detection:
    """One object: its look, `box` (x0, y0, x1, y1) in pixels of the image, and `confidence` in [0, 1]."""

    shape: str
    color: str
    texture: str
    box: tuple[float, float, float, float]
    confidence: float


def detect(image: Image.Image | np.ndarray) -> list[Detection]:
    """Objects in an RGB image (H, W, 3), most confident first; an empty list where there is nothing to see."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    scale = (image.width / CANVAS, image.height / CANVAS)
    if image.size != (CANVAS, CANVAS):
        image = image.resize((CANVAS, CANVAS), Image.Resampling.BOX)
    pixels = np.asarray(image.convert("RGB"), np.float32)
    hues = _hue_classes(pixels)
    found = [d for mask, color in _segments(hues) if (d := _recognise(pixels, hues, mask, color, scale)) is not None]
    return sorted(found, key=lambda d: -d.confidence)


def _hue_angle(rgb: np.ndarray) -> np.ndarray:
    """Hue in degrees of (..., 3) colours; it does not change when grey is mixed in."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    return np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360


@cache
def _reference_hues() -> np.ndarray:
    return _hue_angle(np.asarray(list(COLORS.values()), np.float32))


def _hue_classes(pixels: np.ndarray) -> np.ndarray:
    """Index of each pixel's colour, -1 for background; int (H, W)."""
    distance = np.abs((_hue_angle(pixels)[..., None] - _reference_hues() + 180) % 360 - 180)
    # Dark parts of a texture have little chroma in absolute terms, but much relative to their brightness.
    chroma = pixels.max(-1) - pixels.min(-1)
    relative = chroma / np.maximum(pixels.max(-1), 1) * 128
    return np.where(
        np.maximum(chroma, np.where(pixels.max(-1) < 150, relative, 0)) >= MIN_CHROMA, distance.argmin(-1), -1
    )


def _segments(hues: np.ndarray):
    """Connected parts of one colour, large enough to be an object: (boolean mask, colour index) pairs."""
    for color in range(len(COLORS)):
        labels, _ = ndimage.label(hues == color, structure=np.ones((3, 3)))
        for index, window in enumerate(ndimage.find_objects(labels), start=1):
            extents = [s.stop - s.start for s in window]
            if max(extents) <= MAX_EXTENT and min(extents) >= 8:
                mask = labels == index
                if mask.sum() >= MIN_AREA:
                    yield mask, color


def _recognise(pixels, hues, mask, color, scale) -> Detection | None:
    """The detection of one segment, or None where no shape fits."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    window = np.s_[max(rows[0] - 3, 0) : rows[-1] + 4, max(columns[0] - 3, 0) : columns[-1] + 4]
    # What stands in a hole of this object hides it there, so those pixels say nothing of its shape.
    hidden = ndimage.binary_fill_holes(mask[window]) & ~mask[window] & (hues[window] >= 0)
    origin = (window[1].start, window[0].start)
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    shape, overlap, margin, centre = _fit_shape(mask[window], ~hidden, box, origin)
    low, high = OVERLAP_RANGE
    confidence = np.clip((overlap - low) / (high - low), 0, 1) * np.clip(0.5 + 0.5 * margin / CERTAIN_MARGIN, 0, 1)
    texture, certainty = _read_texture(pixels[window], mask[window], centre, origin)
    confidence = float(confidence * certainty * _color_certainty(pixels[window][mask[window]], color))
    confidence *= _apartness(pixels[window], hues[window], mask[window])
    if confidence < MIN_CONFIDENCE:
        return None
    scaled = tuple(float(edge * scale[i % 2]) for i, edge in enumerate(box))
    return Detection(shape, list(COLORS)[color], texture, scaled, round(confidence, 4))


def _color_distance(pixels: np.ndarray, color: int) -> np.ndarray:
    """Distance of pixels (..., 3) from the line between the dark and the light form of a colour, 0..255."""
    light = np.asarray(list(COLORS.values())[color], np.float32)
    along = np.clip(pixels @ light / (light @ light), DARK, 1)
    return np.linalg.norm(pixels - along[..., None] * light, axis=-1)


def _color_certainty(pixels: np.ndarray, color: int) -> float:
    """How well pixels (N, 3) have the colour, in [0, 1]."""
    near, far = COLOR_RANGE
    return float(np.clip((far - _color_distance(pixels, color).mean()) / (far - near), 0, 1))


def _apartness(pixels: np.ndarray, hues: np.ndarray, mask: np.ndarray) -> float:
    """Whether a segment stands on the light ground or on another clean colour, in [0, 1]; noise does neither."""
    around = ndimage.binary_dilation(mask, iterations=3) & ~ndimage.binary_dilation(mask)
    ground = (hues < 0) & (pixels.min(-1) >= GROUND)
    clean = [(hues == color) & (_color_distance(pixels, color) < COLOR_RANGE[0]) for color in range(len(COLORS))]
    share = (np.any([ground, *clean], axis=0) & around).sum() / max(around.sum(), 1)
    low, high = APART_RANGE
    return float(np.clip((share - low) / (high - low), 0, 1))


@cache
def _extents() -> dict[str, tuple[float, float, float, float]]:
    return {shape: unit_extent(shape) for shape in SHAPES}


def _fit_shape(mask, known, box, origin):
    """Best shape with its overlap (intersection over union), its lead over the second, and the object's centre."""
    y = (np.arange(mask.shape[0]) + origin[1] + 0.5)[:, None]
    x = (np.arange(mask.shape[1]) + origin[0] + 0.5)[None, :]
    fits = []
    for shape in SHAPES:
        u0, v0, u1, v1 = _extents()[shape]
        across, down = (box[2] - box[0]) / (u1 - u0), (box[3] - box[1]) / (v1 - v0)
        centre = (box[0] - u0 * across, box[1] - v0 * down)
        ideal = inside(shape, (x - centre[0]) / across, (y - centre[1]) / down) & known
        overlap = (ideal & mask).sum() / max((ideal | mask).sum(), 1)
        # A shape is drawn as wide as it is high; a stretched fit is a worse one.
        stretch = min(across, down) / max(across, down)
        fits.append((overlap * min(1.0, stretch + 0.12), shape, centre))
    fits.sort(key=lambda fit: -fit[0])
    return fits[0][1], fits[0][0], fits[0][0] - fits[1][0], fits[0][2]


@cache
def _phases() -> np.ndarray:
    """Small shifts (x, y), pixels, by which a drawn texture may be off its object's centre."""
    shifts = np.arange(-1.5, 2, 0.5)
    return np.stack(np.meshgrid(shifts, shifts), -1).reshape(-1, 2)


def _read_texture(pixels, mask, centre, origin) -> tuple[str, float]:
    """The texture whose dark parts correlate best with the segment's brightness, and how sure that is, in [0, 1]."""
    core = ndimage.binary_erosion(mask) if mask.sum() > 120 else mask
    core = core if core.sum() >= 20 else mask
    rows, columns = np.nonzero(core)
    brightness = pixels[rows, columns].max(-1)
    light = np.percentile(brightness, 90)
    # A plain object has nearly no dark pixels; a drawn texture always has a third of them.
    darkness = np.clip((1 - brightness / light) / (1 - DARK), 0, 1)
    if darkness.mean() < 0.11:
        return "plain", 1.0
    # (phase, row, column), kept apart by axis as long as possible: a pattern is a function of few distinct positions.
    x = np.arange(mask.shape[1]) + origin[0] + 0.5 - centre[0] - _phases()[:, 0, None, None]
    y = np.arange(mask.shape[0])[:, None] + origin[1] + 0.5 - centre[1] - _phases()[:, 1, None, None]
    patterns = {texture: _soft(texture, x, y)[:, rows, columns] for texture in TEXTURES[1:]}
    scores = {texture: _correlation(pattern, darkness).max() for texture, pattern in patterns.items()}
    best = max(scores, key=scores.get)
    return best, float(np.clip(scores[best] / 0.55, 0, 1))


def _soft(texture: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The texture's dark share of each pixel, from four points in it."""
    return sum(texture_dark(texture, x + dx, y + dy).astype(np.float32) for dx in (-0.25, 0.25) for dy in (-0.25, 0.25))


def _correlation(patterns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Pearson correlation of each row of `patterns` (P, N) with `values` (N,)."""
    patterns = patterns - patterns.mean(1, keepdims=True)
    values = values - values.mean()
    norm = np.linalg.norm(patterns, axis=1) * np.linalg.norm(values)
    return patterns @ values / np.maximum(norm, 1e-6)
