"""The scene behind what the detector sees, so that captions speak the language of the world's own."""

from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np

from lab.world.detector import Detection
from lab.world.geometry import GRID, GUEST_RADIUS, LARGE_RADIUS, RADIUS, place_pair, scatter, unit_extent
from lab.world.scene import KINDS, Scene, SceneObject
from lab.world.vocabulary import NUMBERS, RELATIONS

MOST = max(NUMBERS)  # objects of a scene
# Scenes that are placed for each relation to see where its objects lie, and what a place counts that none of them had.
PLACED, UNSEEN = 400, 0.01
_PLAIN_BACKGROUND = 240


def scene_of(found: Sequence[Detection], rng: np.random.Generator) -> Scene:
    """A scene that would have given these detections, as likely as the world draws it.

    Two objects in one arrangement may be drawn as a pair or in several relations; `rng` chooses by how often they are.

    Args:
        found: of an image of the world's size, at least one.
    """
    items = sorted(map(_object, found[:MOST]), key=_reading_order)
    if len(items) == 1:
        return _scene("single", items)
    if len({(item.shape, item.color, item.texture) for item in items}) == 1:
        return _scene("count", items)
    if len(items) == 2:
        return _of_two(items, rng)
    return _scene("triple", items[:3])


def _scene(kind: str, items: Sequence[SceneObject], relation: str | None = None) -> Scene:
    return Scene(kind, tuple(items), relation, _PLAIN_BACKGROUND)


@cache
def _extent(shape: str) -> tuple[float, float, float, float]:
    return unit_extent(shape)


def _object(item: Detection) -> SceneObject:
    """The detection with its centre and radius."""
    left, top, right, bottom = _extent(item.shape)
    radius = ((item.box[2] - item.box[0]) / (right - left) + (item.box[3] - item.box[1]) / (bottom - top)) / 2
    x, y = item.box[0] - left * radius, item.box[1] - top * radius
    return SceneObject(item.shape, item.color, item.texture, x, y, radius)


def _reading_order(item: SceneObject) -> tuple[int, int]:
    """From the top left to the bottom right, by steps of the grid: measured places are off it by parts of a pixel."""
    column, row = round(item.x / GRID), round(item.y / GRID)
    return column + row, column


def _of_two(items: Sequence[SceneObject], rng: np.random.Generator) -> Scene:
    """Two different objects: an interaction where their sizes or distance tell, else what lies so most often."""
    small, large = sorted(items, key=lambda item: item.radius)
    if np.hypot(small.x - large.x, small.y - large.y) < GUEST_RADIUS:
        return _scene("interaction", (small, large), "inside")
    if small.radius < (GUEST_RADIUS + RADIUS) / 2 and large.radius > (RADIUS + LARGE_RADIUS) / 2:
        return _scene("interaction", (large, small), "larger than")
    left, right = sorted(items, key=lambda item: item.x)
    # On the grid, circles of this radius lie 32 pixels apart on a line.
    if abs(left.y - right.y) < GRID / 4 and right.x - left.x < 3.5 * GRID:
        return _scene("interaction", (left, right), "touching")
    return _related(items, rng)


def _related(items: Sequence[SceneObject], rng: np.random.Generator) -> Scene:
    """A pair, in reading order, or a relation in either order, by how often the world draws each where these lie."""
    scenes = [_scene("pair", items)]
    weights = [KINDS["pair"] * _likelihood(None, items)]
    for first, second in (items, items[::-1]):
        for relation in RELATIONS:
            scenes.append(_scene("relation", (first, second), relation))
            weights.append(KINDS["relation"] / len(RELATIONS) * _likelihood(relation, (first, second)))
    return scenes[rng.choice(len(scenes), p=np.array(weights) / sum(weights))]


def _likelihood(relation: str | None, items: Sequence[SceneObject]) -> float:
    """How often the second object lies where it does from the first; of a pair, where no relation is meant."""
    return _offsets()[relation].get(_offset(*((item.x, item.y) for item in items)), UNSEEN)


def _offset(first: tuple[float, float], second: tuple[float, float]) -> tuple[int, int]:
    """In steps of the grid, on which all but touching objects stand."""
    return tuple(round((b - a) / GRID) for a, b in zip(first, second, strict=True))


@cache
def _offsets() -> dict[str | None, Counter]:
    """For each relation, and for pairs, how often the second object lies at an offset from the first."""
    rng = np.random.default_rng(0)
    found = {
        relation: Counter(
            _offset(*(place[:2] for place in place_pair(rng, relation, "circle", "circle"))) for _ in range(PLACED)
        )
        for relation in RELATIONS
    }
    pairs = (
        sorted(scatter(rng, [RADIUS] * 2), key=lambda place: (place[0] + place[1], place[0])) for _ in range(PLACED)
    )
    return {**found, None: Counter(_offset(*(place[:2] for place in pair)) for pair in pairs)}
