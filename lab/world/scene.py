"""Scenes: what is drawn, where, and the random generator that invents them."""

from dataclasses import dataclass

import numpy as np

from lab.world.geometry import CANVAS, LARGE_RADIUS, RADIUS, place_pair, scatter
from lab.world.vocabulary import (
    COLORS,
    INTERACTIONS,
    RELATIONS,
    SHAPES,
    TEXTURES,
    UNSEEN_COLOR_SHAPES,
    UNSEEN_TEXTURE_SHAPES,
)

KINDS = {"single": 0.12, "pair": 0.34, "triple": 0.08, "relation": 0.28, "interaction": 0.12, "count": 0.06}
# Shapes with room for another object inside them.
HOSTS = ("circle", "square", "diamond", "ring")
TEXTURE_WEIGHTS = (0.4, 0.2, 0.2, 0.2)


@dataclass(frozen=True)
class SceneObject:
    """One drawn object; `x`, `y` its centre and `radius` its half extent, in pixels of the canvas."""

    shape: str
    color: str
    texture: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scene:
    """Objects in drawing order, what relates the first to the second, and the background's grey level (0..255)."""

    kind: str
    objects: tuple[SceneObject, ...]
    relation: str | None
    background: int


def sample_scene(rng: np.random.Generator) -> Scene:
    """A scene of one to four objects whose attribute combinations are all of the seen ones."""
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    objects, relation = _INVENT[kind](rng)
    return Scene(kind, tuple(objects), relation, int(rng.integers(225, 256)))


def looks(rng: np.random.Generator, count: int, shapes=SHAPES, textures=None) -> list[tuple[str, str, str]]:
    """`count` looks (shape, colour, texture) with distinct shapes and distinct colours, none of them unseen."""
    found: list[tuple[str, str, str]] = []
    while len(found) < count:
        # Only the first look is bound to `shapes`: it is the host of what follows.
        shape = str(rng.choice(shapes if not found else SHAPES))
        color = str(rng.choice(list(COLORS)))
        texture = str(rng.choice(TEXTURES, p=TEXTURE_WEIGHTS)) if textures is None else textures
        taken = any(shape == s or color == c for s, c, _ in found)
        unseen = (color, shape) in UNSEEN_COLOR_SHAPES or (texture, shape) in UNSEEN_TEXTURE_SHAPES
        if not taken and not unseen:
            found.append((shape, color, texture))
    return found


def _scattered(rng, found, radius=RADIUS):
    """Objects from the top left to the bottom right, in which order captions name them."""
    places = sorted(scatter(rng, [radius] * len(found)), key=lambda place: (place[0] + place[1], place[0]))
    return [SceneObject(*look, *place) for look, place in zip(found, places, strict=True)]


def _single(rng):
    return _scattered(rng, looks(rng, 1), float(rng.choice([RADIUS, LARGE_RADIUS]))), None


def _pair(rng):
    return _scattered(rng, looks(rng, 2)), None


def _triple(rng):
    return _scattered(rng, looks(rng, 3)), None


def _count(rng):
    return _scattered(rng, looks(rng, 1) * int(rng.integers(2, 5))), None


def _relation(rng):
    relation = str(rng.choice(RELATIONS))
    return _related(rng, relation, looks(rng, 2)), relation


def _interaction(rng):
    relation = str(rng.choice(INTERACTIONS))
    if relation == "inside":
        host, guest = looks(rng, 2, shapes=HOSTS, textures="plain")
        # A ring in a ring would leave no pixels between them.
        while guest[0] == "ring":
            host, guest = looks(rng, 2, shapes=HOSTS, textures="plain")
        return _related(rng, relation, [guest, host]), relation
    return _related(rng, relation, looks(rng, 2)), relation


def _related(rng, relation, found):
    places = place_pair(rng, relation, found[0][0], found[1][0])
    return [SceneObject(*look, *place) for look, place in zip(found, places, strict=True)]


_INVENT = {
    "single": _single,
    "pair": _pair,
    "triple": _triple,
    "relation": _relation,
    "interaction": _interaction,
    "count": _count,
}

__all__ = ["CANVAS", "HOSTS", "KINDS", "Scene", "SceneObject", "looks", "sample_scene"]
