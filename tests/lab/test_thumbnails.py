"""Thumbnails stand for an arm's images in the report."""

import numpy as np
import pytest
from PIL import Image

from compbench.errors import CompbenchError
from compbench.images import ImageRow
from lab.params.sections import Report
from lab.thumbnails import MOST, SIDE, first_images, write_thumbnails


def row(category: str, prompt: int, index: int) -> ImageRow:
    return ImageRow(index, f"prompt {prompt}", category, prompt, f"{category}/samples/prompt {prompt}_{index:06d}.png")


def rows(**prompts: int) -> list[ImageRow]:
    """Two images for each of so many prompts of each category."""
    return [row(name, 100 * i + n // 2, n) for i, (name, count) in enumerate(prompts.items()) for n in range(2 * count)]


def draw(folder, row, size, mode="RGB"):
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(row.index).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    (folder / row.path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze(), mode).save(folder / row.path)


def test_first_images_go_round_the_categories():
    """One image a prompt; where a category has no more prompts, the others go on."""
    found = first_images(rows(complex=1, color=3), 3)
    assert [(row.category, row.prompt_index, row.index) for row in found] == [
        ("color", 100, 0),
        ("complex", 0, 0),
        ("color", 101, 2),
    ]


def test_fewer_images_are_the_first_of_more():
    """So the thumbnails of the most prompts hold those of every smaller grid."""
    most = first_images(rows(color=30, spatial=4, numeracy=9, non_spatial=20), MOST)
    assert len(most) == MOST
    assert all(first_images(rows(color=30, spatial=4, numeracy=9, non_spatial=20), n) == most[:n] for n in range(MOST))


def test_no_more_prompts_may_be_asked_for_than_have_thumbnails():
    limits = [limit for limit in Report.model_fields["grid_prompts"].metadata if hasattr(limit, "le")]
    assert [limit.le for limit in limits] == [MOST]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_small_image_is_kept_pixel_by_pixel(tmp_path, mode):
    (one,) = rows(color=1)[:1]
    draw(tmp_path / "images", one, (64, 48), mode)
    write_thumbnails(tmp_path / "thumbnails", tmp_path / "images", [one])
    with Image.open(tmp_path / "images" / one.path) as image, Image.open(tmp_path / "thumbnails" / one.path) as small:
        assert small.mode == "RGB"
        assert np.array_equal(np.asarray(small), np.asarray(image.convert("RGB")))


def test_a_large_image_is_scaled_and_keeps_its_shape(tmp_path):
    (one,) = rows(color=1)[:1]
    draw(tmp_path / "images", one, (1024, 512))
    write_thumbnails(tmp_path / "thumbnails", tmp_path / "images", [one])
    with Image.open(tmp_path / "thumbnails" / one.path) as small:
        assert small.size == (SIDE, SIDE // 2)


def test_only_what_a_report_can_show_has_a_thumbnail(tmp_path):
    found = rows(color=60, shape=2)
    for one in found:
        draw(tmp_path / "images", one, (8, 8))
    write_thumbnails(tmp_path / "thumbnails", tmp_path / "images", found)
    assert len(list((tmp_path / "thumbnails").rglob("*.png"))) == MOST


def test_a_damaged_image_is_named(tmp_path):
    (one,) = rows(color=1)[:1]
    draw(tmp_path / "images", one, (64, 64))
    path = tmp_path / "images" / one.path
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CompbenchError, match="is damaged or cut short"):
        write_thumbnails(tmp_path / "thumbnails", tmp_path / "images", [one])
