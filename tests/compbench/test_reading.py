"""Which damage of an image's file is seen by a look at its ends, and which when it is read."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compbench.errors import CompbenchError
from compbench.reading import check_whole, read_image, read_verified


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("read", [read_image, read_verified, check_whole])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no image at all",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-12],
    ],
)
def test_a_file_that_lacks_its_beginning_or_end_is_named(image, read, damage):
    image.write_bytes(damage(image.read_bytes()))
    with pytest.raises(CompbenchError, match=r"image\.png is damaged or cut short.*: draw it again\."):
        read(image, "draw it again")


@pytest.mark.parametrize("read", [read_image, read_verified, check_whole])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(CompbenchError, match=r"image\.png does not exist"):
        read(tmp_path / "image.png", "draw it again")


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_flipped_bit_in_between_is_seen_when_the_image_is_read(image, part):
    """By the checksums: Pillow's decoder does not compare them."""
    content = image.read_bytes()
    image.write_bytes(flipped(content, int(part * len(content))))
    check_whole(image, "draw it again")
    for read in (read_image, read_verified):
        with pytest.raises(CompbenchError, match="is damaged or cut short"):
            read(image, "draw it again")


@pytest.mark.parametrize("read", [read_image, read_verified, check_whole])
def test_bytes_behind_the_end_and_other_formats_are_no_damage(image, read):
    image.write_bytes(image.read_bytes() + b"a camera's note")
    read(image, "draw it again")
    with Image.open(image) as opened:
        opened.save(image, format="JPEG")
    read(image, "draw it again")


def test_the_file_is_read_once(image, monkeypatch):
    """A full-size arm is tens of gigabytes."""
    opened, read = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path) or read(path))
    monkeypatch.setattr(
        Image, "open", lambda file, open_=Image.open: open_(file) if isinstance(file, BytesIO) else None
    )
    read_image(image, "draw it again")
    assert opened == [image]
