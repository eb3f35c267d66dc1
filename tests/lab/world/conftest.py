"""Ground truth of drawn scenes."""

import pytest

from lab.world.geometry import unit_extent
from lab.world.scene import SceneObject
from tests.drawn import drawn, prompts  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def true_box():
    """The bounding box (x0, y0, x1, y1) of a drawn object, in pixels."""

    def box(item: SceneObject) -> tuple[float, float, float, float]:
        u0, v0, u1, v1 = unit_extent(item.shape)
        r = item.radius
        return (item.x + u0 * r, item.y + v0 * r, item.x + u1 * r, item.y + v1 * r)

    return box
