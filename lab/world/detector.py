"""Reads objects from the pixels of any image: segments by hue, then compares each segment with every shape and texture.

Nothing but the image goes in. Lengths are in pixels of the world's canvas; an image of another size is
resized to it first, and boxes are given in the image's own pixels.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image
from scipy import ndimage

from lab.world.geometry import CANVAS
from lab.world.outlines import fit_shapes
from lab.world.patterns import read_texture
from lab.world.render import DARK
from lab.world.vocabulary import COLORS

MIN_CHROMA = 36  # of 255: below it a pixel belongs to the background
MIN_AREA = 45  # pixels
MAX_EXTENT = 50  # pixels a side: anything larger is a coloured ground, not an object
MIN_CONFIDENCE = 0.3
# Overlap with the ideal outline at which a shape is doubtful and at which it is certain.
OVERLAP_RANGE = (0.70, 0.90)
# Mean distance from the colour's own range (dark to light), of 255, at which it is certain and at which it is not it.
COLOR_RANGE = (36, 72)
# Hues are placed from -1 at one colour to 1 at the next, 0 halfway: connected pixels nearer to 0 than this, in the
# median, are of a hue between two colours.
BETWEEN = 0.5
GROUND = 170  # of 255: a background pixel is at least this bright
# Share of an object's surroundings that is ground or another clean colour at which it stands apart: not at all, surely.
APART_RANGE = (0.35, 0.6)
# The best shape must beat the others' overlap by this much to be certain.
CERTAIN_MARGIN = 0.04
_NEIGHBOURS = np.ones((3, 3))


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
    hues = _one_of_two(_hue_angle(pixels), _hue_classes(pixels))
    segments = list(_segments(hues))
    loose = (hues >= 0) & ~np.any([np.zeros_like(hues, bool), *(mask for mask, _ in segments)], axis=0)
    wholes = ((_whole(pixels, mask, color, loose), color) for mask, color in segments)
    found = [_recognise(pixels, hues, mask, color, scale) for mask, color in wholes if mask.sum() >= MIN_AREA]
    return sorted((item for item in found if item is not None), key=lambda item: -item.confidence)


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


def _one_of_two(angles: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The hue classes, where what is of a hue between two colours, and so in pieces of both, is given to the nearer.

    Objects of the two colours that touch are no such thing: their pixels lie near one colour or the other.
    """
    found = classes.copy()
    for first, second in _neighbours():
        # -1 at the first colour's hue, 1 at the second's, 0 halfway.
        from_first = (angles - _reference_hues()[first]) % 360
        place = 2 * from_first / ((_reference_hues()[second] - _reference_hues()[first]) % 360) - 1
        labels, count = ndimage.label((classes == first) | (classes == second), structure=_NEIGHBOURS)
        for part in (labels == index for index in range(1, count + 1)):
            if part.sum() >= MIN_AREA and np.median(np.abs(place[part])) < BETWEEN:
                found[part] = first if np.median(place[part]) < 0 else second
    return found


@cache
def _neighbours() -> list[tuple[int, int]]:
    """Pairs of colours with none between their hues."""
    order = [int(color) for color in _reference_hues().argsort()]
    return list(zip(order, order[1:] + order[:1], strict=True))


def _segments(hues: np.ndarray):
    """Connected parts of one colour, large enough to be an object: (boolean mask, colour index) pairs."""
    for color in range(len(COLORS)):
        labels, _ = ndimage.label(hues == color, structure=_NEIGHBOURS)
        for index, window in enumerate(ndimage.find_objects(labels), start=1):
            extents = [s.stop - s.start for s in window]
            if max(extents) <= MAX_EXTENT and min(extents) >= 8:
                mask = labels == index
                if mask.sum() >= MIN_AREA:
                    yield mask, color


def _whole(pixels: np.ndarray, mask: np.ndarray, color: int, loose: np.ndarray) -> np.ndarray:
    """The pixels that an object covers by half or more; boolean like `mask`, its segment.

    Thin parts may have come out in another hue: what is connected and of no segment, `loose`, belongs to it.
    """
    darkest = pixels.min(-1)
    light = darkest[darkest >= GROUND]
    ground = np.median(light) if light.size else 255.0
    # Of a colour's channels the least one tells best from a light ground, and is no lighter in a texture's dark parts.
    covered = (ground - darkest) / (ground - min(list(COLORS.values())[color]))
    return ndimage.binary_propagation(mask, structure=_NEIGHBOURS, mask=mask | loose) & (covered >= 0.5)


def _recognise(pixels, hues, mask, color, scale) -> Detection | None:
    """The detection of one object's pixels, or None where no shape fits."""
    # What stands in a hole of this object hides it there, so those pixels say nothing of its shape.
    hidden = ndimage.binary_fill_holes(mask) & ~mask & (hues >= 0)
    best, second = fit_shapes(mask, hidden)[:2]
    low, high = OVERLAP_RANGE
    margin = best.overlap - second.overlap
    confidence = np.clip((best.overlap - low) / (high - low), 0, 1) * np.clip(0.5 + 0.5 * margin / CERTAIN_MARGIN, 0, 1)
    texture, certainty = read_texture(pixels, mask, best.centre)
    confidence = float(confidence * certainty * _color_certainty(pixels[mask], color))
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    around = np.s_[max(box[1] - 3, 0) : box[3] + 3, max(box[0] - 3, 0) : box[2] + 3]
    confidence *= _apartness(pixels[around], hues[around], mask[around])
    if confidence < MIN_CONFIDENCE:
        return None
    scaled = tuple(float(edge * scale[i % 2]) for i, edge in enumerate(box))
    return Detection(best.shape, list(COLORS)[color], texture, scaled, round(confidence, 4))


def _color_distance(pixels: np.ndarray, color: int) -> np.ndarray:
    """Distance of pixels (..., 3) from the line between the dark and the light form of a colour, 0..255.

    What lies between this colour and one of its neighbours, nearer to this one, is a form of it too.
    """
    distances = []
    for light in _forms(color):
        along = np.clip(pixels @ light / (light @ light), DARK, 1)
        distances.append(np.linalg.norm(pixels - along[..., None] * light, axis=-1))
    return np.min(distances, axis=0)


@cache
def _forms(color: int) -> list[np.ndarray]:
    """The light form of a colour, and those between it and half way to each neighbour."""
    lights = np.asarray(list(COLORS.values()), np.float32)
    beside = [pair[1 - pair.index(color)] for pair in _neighbours() if color in pair]
    return [lights[color]] + [
        lights[color] + part * (lights[other] - lights[color]) for other in beside for part in (0.25, 0.5)
    ]


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
