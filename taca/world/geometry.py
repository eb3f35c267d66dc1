"""Where objects go on the canvas: outlines of the shapes in unit coordinates, and placements that fulfil a relation."""

import numpy as np

CANVAS = 80  # pixels a side
MARGIN = 2.0
# Centres lie on a grid of this many pixels: fewer different pictures to learn, none of which a prompt could tell apart.
GRID = 4

_STAR_ANGLES = -np.pi / 2 + np.arange(10) * np.pi / 5
_STAR = np.stack([np.cos(_STAR_ANGLES), np.sin(_STAR_ANGLES)], 1) * np.where(np.arange(10) % 2, 0.46, 1.08)[:, None]


def _in_star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    inside = np.zeros(np.broadcast(u, v).shape, bool)
    for (u0, v0), (u1, v1) in zip(_STAR, np.roll(_STAR, -1, 0), strict=True):
        inside ^= ((v0 > v) != (v1 > v)) & (u < (u1 - u0) * (v - v0) / (v1 - v0) + u0)
    return inside


def _in_heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = 1.18 * u, -1.18 * v + 0.1
    return (x**2 + y**2 - 1) ** 3 - x**2 * y**3 <= 0


_INSIDE = {
    "circle": lambda u, v: u**2 + v**2 <= 1,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) <= 0.9,
    "triangle": lambda u, v: (v <= 0.82) & (np.abs(u) <= (v + 1) * 0.58),
    "diamond": lambda u, v: np.abs(u) + np.abs(v) <= 1.08,
    "star": _in_star,
    "cross": lambda u, v: (np.minimum(np.abs(u), np.abs(v)) <= 0.32) & (np.maximum(np.abs(u), np.abs(v)) <= 1),
    "heart": _in_heart,
    "ring": lambda u, v: (u**2 + v**2 <= 1) & (u**2 + v**2 >= 0.52**2),
}


def inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether unit coordinates (u right, v down, object radius 1) lie inside `shape`; broadcasts, boolean."""
    return _INSIDE[shape](u, v)


def unit_extent(shape: str) -> tuple[float, float, float, float]:
    """Bounding box (u0, v0, u1, v1) of `shape` in unit coordinates."""
    axis = np.linspace(-1.2, 1.2, 481)
    v, u = np.nonzero(inside(shape, axis[None, :], axis[:, None]))
    return tuple(float(axis[i]) for i in (u.min(), v.min(), u.max(), v.max()))


def scatter(rng: np.random.Generator, radii: list[float], gap: float = 3.0) -> list[tuple[float, float, float]]:
    """Centres (x, y, radius) inside the canvas with at least `gap` pixels between any two objects' circles."""
    while True:
        places: list[tuple[float, float, float]] = []
        for radius in radii:
            for _ in range(60):
                x, y = _snap(rng.uniform(radius + MARGIN, CANVAS - radius - MARGIN, 2))
                if all(np.hypot(x - px, y - py) >= radius + pr + gap + 0.1 * pr for px, py, pr in places):
                    places.append((float(x), float(y), radius))
                    break
        if len(places) == len(radii):
            return places


def _snap(centre: np.ndarray) -> np.ndarray:
    return GRID * np.round(centre / GRID)


def place_pair(rng: np.random.Generator, relation: str, first: str, second: str) -> list[tuple[float, float, float]]:
    """Two places (x, y, radius) for shapes `first` and `second`, where the first stands in `relation` to the second."""
    if relation == "inside":
        radius = float(rng.uniform(21, 25))
        x, y = _snap(rng.uniform(radius * 1.08 + 2, CANVAS - radius * 1.08 - 2, 2))
        return [(float(x), float(y), float(rng.uniform(8.5, 9.5))), (float(x), float(y), radius)]
    if relation == "larger than":
        return scatter(rng, [float(rng.uniform(16, 19)), float(rng.uniform(9, 10.5))])
    while True:
        offset, radii = _offset(rng, relation, first, second)
        centre = rng.uniform(20, CANVAS - 20, 2)
        start = _snap(centre - offset / 2)
        end = start + offset if relation == "touching" else _snap(start + offset)
        places = [(*map(float, start), radii[0]), (*map(float, end), radii[1])]
        if all(1.08 * r + 1 <= c <= CANVAS - 1.08 * r - 1 for x, y, r in places for c in (x, y)):
            return places


def _offset(rng, relation, first, second):
    """Vector from the first centre to the second, pixels, and the two radii."""
    radii = [float(rng.uniform(12, 15)) for _ in range(2)]
    touch = 1.08 * sum(radii) + 2
    side = float(rng.choice([-1, 1]))
    if relation == "touching":
        return np.array([side * _contact(first, second, radii), 0.0]), radii
    if relation == "near":
        angle = rng.uniform(0, 2 * np.pi)
        return (touch + rng.uniform(2, 7)) * np.array([np.cos(angle), np.sin(angle)]), radii
    if relation in ("next to", "on side of"):
        gap = rng.uniform(2, 5) if relation == "next to" else rng.uniform(3, 10)
        return np.array([side * (touch + gap), rng.uniform(-6, 6)]), radii
    along = touch + rng.uniform(2, 12)
    across = rng.uniform(-0.45, 0.45) * along
    return {
        "on the left of": np.array([along, across]),
        "on the right of": np.array([-along, across]),
        "on the top of": np.array([across, along]),
        "on the bottom of": np.array([across, -along]),
    }[relation], radii


def _contact(first: str, second: str, radii: list[float]) -> float:
    """Horizontal distance of centres, pixels, at which two shapes on one line just meet."""
    rows = np.arange(-20, 20.5, 0.5)
    columns = np.arange(-20, 20.25, 0.25)
    edges = []
    for shape, radius in zip((first, second), radii, strict=True):
        filled = inside(shape, columns[None, :] / radius, rows[:, None] / radius)
        edges.append(np.where(filled.any(1), (filled * np.abs(columns)).max(1), -np.inf))
    return float((edges[0] + edges[1]).max()) + 0.5
