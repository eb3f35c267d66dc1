"""Where objects go on the canvas: outlines of the shapes in unit coordinates, and placements that fulfil a relation."""

import numpy as np

CANVAS = 64  # pixels a side
REACH = 1.08  # how far the widest shape reaches from its centre, in radii
# Centres lie on a grid and radii are few: fewer different pictures to learn, and no prompt tells between them.
GRID = 8
RADIUS, LARGE_RADIUS = 12.0, 16.0
HOST_RADIUS, GUEST_RADIUS = 20.0, 9.0

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
    """Centres (x, y, radius) on the grid, inside the canvas, at least `gap` pixels between any two objects' circles."""
    while True:
        places: list[tuple[float, float, float]] = []
        for radius in radii:
            x, y = np.meshgrid(_centres(radius), _centres(radius))
            free = np.ones(x.shape, bool)
            for px, py, other in places:
                free &= np.hypot(x - px, y - py) >= REACH * (radius + other) + gap
            if not free.any():
                break
            chosen = rng.integers(free.sum())
            places.append((float(x[free][chosen]), float(y[free][chosen]), radius))
        if len(places) == len(radii):
            return places


def _centres(radius: float) -> list[float]:
    """The grid's coordinates at which an object of this radius lies inside the canvas."""
    return [float(c) for c in range(0, CANVAS + 1, GRID) if REACH * radius <= c <= CANVAS - REACH * radius]


def place_pair(rng: np.random.Generator, relation: str, first: str, second: str) -> list[tuple[float, float, float]]:
    """Two places (x, y, radius) for shapes `first` and `second`, where the first stands in `relation` to the second."""
    if relation == "inside":
        x, y = (float(rng.choice(_centres(HOST_RADIUS))) for _ in range(2))
        return [(x, y, GUEST_RADIUS), (x, y, HOST_RADIUS)]
    if relation == "larger than":
        return scatter(rng, [LARGE_RADIUS, GUEST_RADIUS])
    while True:
        offset = _offset(rng, relation, first, second)
        start = np.array([rng.choice(_centres(RADIUS)) for _ in range(2)])
        # Touching objects stand where they meet, all others on the grid.
        end = start + (offset if relation == "touching" else GRID * np.round(offset / GRID))
        apart = relation == "touching" or np.hypot(*(end - start)) >= 2 * REACH * RADIUS + 1
        if apart and all(REACH * RADIUS <= c <= CANVAS - REACH * RADIUS for c in end):
            return [(*map(float, start), RADIUS), (*map(float, end), RADIUS)]


def _offset(rng, relation, first, second):
    """Vector from the first centre to the second, pixels, before it is put on the grid.

    Where the relation leaves it open, the first stands on the left or above: captions name objects in that order.
    """
    touch = 2 * REACH * RADIUS + 2
    if relation == "touching":
        return np.array([_contact(first, second), 0.0])
    if relation == "near":
        beside = np.array([touch + rng.uniform(0, 6), rng.uniform(-12, 12)])
        return beside if rng.random() < 0.5 else beside[::-1]
    if relation in ("next to", "on side of"):
        gap = rng.uniform(0, 3) if relation == "next to" else rng.uniform(0, 10)
        return np.array([touch + gap, rng.uniform(-6, 6)])
    along = touch + rng.uniform(0, 14)
    across = rng.uniform(-0.45, 0.45) * along
    return {
        "on the left of": np.array([along, across]),
        "on the right of": np.array([-along, across]),
        "on the top of": np.array([across, along]),
        "on the bottom of": np.array([across, -along]),
    }[relation]


def _contact(first: str, second: str) -> float:
    """Horizontal distance of centres, pixels, at which two shapes on one line just meet."""
    rows = np.arange(-20, 20.5, 0.5)
    columns = np.arange(-20, 20.25, 0.25)
    edges = []
    for shape in (first, second):
        filled = inside(shape, columns[None, :] / RADIUS, rows[:, None] / RADIUS)
        edges.append(np.where(filled.any(1), (filled * np.abs(columns)).max(1), -np.inf))
    return float((edges[0] + edges[1]).max()) + 0.5
