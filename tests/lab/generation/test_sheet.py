"""The contact sheet of an arm's images."""

import pytest
from PIL import Image

from lab.generation.sheet import COLUMNS, SIDE, contact_sheet


@pytest.fixture
def paths(tmp_path):
    def draw(count, size):
        found = [tmp_path / f"{number}.png" for number in range(count)]
        for number, path in enumerate(found):
            Image.new("RGB", size, (number, 0, 0)).save(path)
        return found

    return draw


def test_large_images_are_scaled_with_their_shape_kept(paths):
    assert contact_sheet(paths(12, (1024, 512))).size == (COLUMNS * SIDE, 2 * SIDE // 2)


def test_small_images_stand_at_their_own_size_pixel_by_pixel(paths):
    sheet = contact_sheet(paths(3, (64, 32)))
    assert sheet.size == (COLUMNS * 64, 32)
    assert [sheet.getpixel((64 * number, 0)) for number in range(3)] == [(number, 0, 0) for number in range(3)]


def test_sixty_of_many_are_shown(paths):
    sheet = contact_sheet(paths(120, (4, 4)))
    assert sheet.size == (40, 24)
    assert sheet.getpixel((4, 0)) == (2, 0, 0)
