"""Samples from the world and from a user's folder, and what captioners say of them."""

import csv
import zlib

import numpy as np
import pytest
from PIL import Image

from compbench import reading
from compbench.errors import CompbenchError
from lab.data.captions import caption_images
from lab.data.images import read_image
from lab.errors import LabError
from lab.world.captions import MAX_TOKENS
from lab.world.vocabulary import token_count
from tests.lab.data.sampled import of_folder, of_world


@pytest.fixture
def user_folder(tmp_path):
    """Six captioned images, as `datasets`' imagefolder wants them."""
    folder = tmp_path / "mine"
    folder.mkdir()
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text"])
        for number in range(6):
            Image.new("RGB", (30 + number, 20), (40 * number, 0, 0)).save(folder / f"{number}.png")
            writer.writerow([f"{number}.png", f"picture {number}"])
    return folder


def test_the_worlds_sample_is_the_same_twice(tmp_path):
    """Equal seeds give equal rows and equal files."""
    rows = [of_world(tmp_path / name, 4) for name in ("a", "b")]
    assert rows[0] == rows[1]
    files = [sorted((tmp_path / name / "out/images").iterdir()) for name in ("a", "b")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_a_users_folder_is_sampled_with_its_captions(tmp_path, user_folder):
    """Images keep their size, captions and file names."""
    rows = of_folder(tmp_path, user_folder, 4)
    assert len(rows) == 4
    for row in rows:
        number = int(row["caption"].split()[-1])
        assert (row["width"], row["height"], row["source"]) == (30 + number, 20, f"{number}.png")
        with Image.open(tmp_path / "out" / row["path"]) as image:
            assert image.size == (30 + number, 20)


def test_a_folder_with_too_few_images_is_refused(tmp_path, user_folder):
    """The error names key, value and how many there are."""
    with pytest.raises(LabError, match=r"`sample.size` is 9, but .* holds 6 images"):
        of_folder(tmp_path, user_folder, 9)


def test_a_truncated_image_is_named(tmp_path, user_folder):
    """A damaged file stops the sample, by its name."""
    path = user_folder / "3.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(LabError, match=r"3\.png is damaged or cut short"):
        of_folder(tmp_path, user_folder, 6)


def test_an_image_whose_header_is_cut_short_is_named(tmp_path):
    """Pillow's error for a PNG whose first block says that it is 12 bytes long is neither OSError nor SyntaxError."""
    path = tmp_path / "3.png"
    Image.new("RGB", (4, 4)).save(path)
    signature, kind, header, rest = path.read_bytes()[:8], b"IHDR", path.read_bytes()[16:28], path.read_bytes()[33:]
    checksum = zlib.crc32(kind + header).to_bytes(4)
    path.write_bytes(signature + (12).to_bytes(4) + kind + header + checksum + rest)
    with pytest.raises(LabError, match=r"3\.png is damaged or cut short"):
        read_image(path)
    for read in (reading.read_image, reading.read_verified, reading.check_whole):
        with pytest.raises(CompbenchError, match=r"3\.png is damaged or cut short"):
            read(path, "draw it again")


@pytest.mark.long
def test_the_detectors_captions_name_what_is_drawn(tmp_path):
    """Short captions from pixels alone, naming shapes that the scenes hold; the same twice."""
    rows = of_world(tmp_path, 40)
    captions = caption_images("detector", tmp_path / "out", rows)
    assert captions == caption_images("detector", tmp_path / "out", rows)
    assert all(token_count(row["caption"]) <= MAX_TOKENS for row in captions)
    assert len({row["caption"] for row in captions}) > 20


def test_the_source_captioner_keeps_the_words(tmp_path, user_folder):
    """`source` changes nothing."""
    rows = of_folder(tmp_path, user_folder, 6)
    captions = caption_images("source", tmp_path / "out", rows)
    assert [row["caption"] for row in captions] == [row["caption"] for row in rows]


def test_the_source_captioner_refuses_an_image_that_came_without_words(tmp_path, user_folder):
    rows = of_folder(tmp_path, user_folder, 2)
    with pytest.raises(LabError, match=r"images/000001.png came without words, .*: take images that have some"):
        caption_images("source", tmp_path / "out", [rows[0], rows[1] | {"caption": " "}])


def test_the_detector_refuses_pictures_it_cannot_read(tmp_path):
    """It does not make a caption up: the error names the image and the other captioner."""
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "images/000000.png")
    with pytest.raises(LabError, match=r"images/000000.png; for other images set `caption.captioner` to source"):
        caption_images("detector", tmp_path, [{"id": 0, "path": "images/000000.png", "caption": ""}])
