"""Draws scenes: anti-aliased shapes with textures on a light ground."""

import numpy as np
from PIL import Image

from lab.world.geometry import CANVAS, inside
from lab.world.scene import Scene, SceneObject
from lab.world.vocabulary import COLORS

SUPERSAMPLE = 4
DARK = 0.42  # brightness of a texture's dark parts, relative to the object's colour


def texture_dark(texture: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where a texture is dark; `x`, `y` are pixels from the object's centre; boolean, broadcasts."""
    if texture == "striped":
        return np.broadcast_to(np.mod(y - 1.25, 5) < 2.5, np.broadcast(x, y).shape)
    if texture == "dotted":
        return (np.mod(x + 3, 6) - 3) ** 2 + (np.mod(y + 3, 6) - 3) ** 2 <= 1.9**2
    if texture == "checkered":
        return (np.mod(x, 8) < 4) ^ (np.mod(y, 8) < 4)
    return np.zeros(np.broadcast(x, y).shape, bool)


def render(scene: Scene) -> Image.Image:
    """The scene as an RGB image of `CANVAS` pixels a side. Larger objects are drawn first, so a guest stays visible."""
    canvas = np.full((CANVAS, CANVAS, 3), scene.background, np.float32)
    for item in sorted(scene.objects, key=lambda o: -o.radius):
        _draw(canvas, item)
    return Image.fromarray(np.round(canvas).astype(np.uint8))


def _draw(canvas: np.ndarray, item: SceneObject) -> None:
    """Paints one object onto the canvas, in place; each pixel takes the share that the object covers of it."""
    reach = 1.1 * item.radius + 1
    columns, rows = (np.arange(max(0, int(c - reach)), min(CANVAS, int(c + reach) + 1)) for c in (item.x, item.y))
    step = (np.arange(SUPERSAMPLE) + 0.5) / SUPERSAMPLE
    x = (columns[:, None] + step).reshape(1, -1) - item.x
    y = (rows[:, None] + step).reshape(-1, 1) - item.y
    filled = inside(item.shape, x / item.radius, y / item.radius)
    light = np.where(texture_dark(item.texture, x, y), DARK, 1.0) * filled
    covered, light = (
        part.reshape(len(rows), SUPERSAMPLE, len(columns), SUPERSAMPLE).mean((1, 3))[..., None]
        for part in (filled, light)
    )
    window = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    window *= 1 - covered
    window += light * np.asarray(COLORS[item.color], np.float32)
