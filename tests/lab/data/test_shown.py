"""Images that people bring, as a viewer shows them."""

import struct

import made_png
import numpy as np
import pytest
from made_png import png
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from lab.data.shown import read_shown
from lab.errors import LabError
from tests.lab.data.sampled import of_folder

WHITE = (255, 255, 255)
ORIENTATION = 0x0112


def first_pixel(path) -> tuple[int, int, int]:
    image = read_shown(path)
    assert image.mode == "RGB"
    assert image.info == {}  # what the file said of itself is done, and would be done again
    return image.getpixel((0, 0))


def oriented(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = number
    return exif


@pytest.fixture
def corner() -> Image.Image:
    """32 x 16, black but for a red quarter at the top left, wide enough for lossy formats."""
    image = Image.new("RGB", (32, 16))
    image.paste("red", (0, 0, 16, 8))
    return image


# Where the red quarter, stored at the top left, is seen: (right, bottom).
SEEN = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_turned_image_stands_upright(tmp_path, corner, suffix, number):
    """All eight orientations, wherever a format keeps them; the size is that after the turn."""
    corner.save(tmp_path / f"a.{suffix}", exif=oriented(number))
    shown = read_shown(tmp_path / f"a.{suffix}")
    assert shown.size == ((32, 16) if number < 5 else (16, 32))
    right, bottom = SEEN[number]
    width, height = shown.size
    for x in (0, 1):
        for y in (0, 1):
            red = shown.getpixel((width // 4 + x * width // 2, height // 4 + y * height // 2))[0]
            assert (red > 200) == ((x, y) == (right, bottom))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("number", [5, 6, 7, 8])
def test_a_turned_tiff_of_any_mode_stands_upright(tmp_path, corner, mode, number):
    """Uncompressed, as scanners write them; Pillow alone mixes up the rows of these modes."""
    deep = Image.fromarray(np.asarray(corner.convert("L")).astype(np.uint16) * 257)
    (deep if mode == "I;16" else corner.convert(mode)).save(tmp_path / "a.tif", exif=oriented(number))
    corner.save(tmp_path / "a.png", exif=oriented(number))
    grey, expected = (read_shown(tmp_path / name).convert("L") for name in ("a.tif", "a.png"))
    assert grey.size == expected.size
    assert np.abs(np.asarray(grey, int) - np.asarray(expected, int)).max() <= 1


def test_an_orientation_in_xmp_alone_counts(tmp_path, corner):
    corner.save(tmp_path / "a.jpg", xmp=b'<rdf:Description tiff:Orientation="6"/>')
    assert read_shown(tmp_path / "a.jpg").size == (16, 32)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1\x12", oriented(0), oriented(9)]
)
def test_metadata_that_make_no_sense_turn_nothing(tmp_path, corner, exif):
    corner.save(tmp_path / "a.jpg", exif=exif)
    assert read_shown(tmp_path / "a.jpg").size == (32, 16)


def test_the_index_has_the_size_after_the_turn(tmp_path, corner):
    """And the sample's own image has it too, with nothing left that would turn it again."""
    (tmp_path / "mine").mkdir()
    corner.save(tmp_path / "mine/a.jpg", exif=oriented(6), icc_profile=swapped_srgb())
    (tmp_path / "mine/metadata.csv").write_text("file_name,text\na.jpg,a corner\n")
    (row,) = of_folder(tmp_path, tmp_path / "mine", 1)
    with Image.open(tmp_path / "out" / row["path"]) as image:
        assert (row["width"], row["height"]) == image.size == (16, 32)
        assert "icc_profile" not in image.info
        assert ORIENTATION not in image.getexif()


DEEP = np.full((2, 2), 20000, np.uint16)  # of 65535: 78 of 255


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "a.jp2", "a.im"])
def test_sixteen_bits_are_brought_to_eight(tmp_path, name):
    Image.fromarray(DEEP).save(tmp_path / name)
    assert first_pixel(tmp_path / name) == (78, 78, 78)


@pytest.mark.parametrize("mode", ["I;16B", "I;16L"])
def test_sixteen_bits_of_either_byte_order(tmp_path, mode):
    image = Image.new(mode, (2, 2), 20000)
    image.save(tmp_path / "a.tif")
    assert first_pixel(tmp_path / "a.tif") == (78, 78, 78)


def test_the_range_of_sixteen_bits_is_whole(tmp_path):
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "a.png")
    shown = read_shown(tmp_path / "a.png")
    assert [shown.getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), WHITE]


def test_twelve_bits_have_a_white_of_their_own(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 1 1 4095\n" + struct.pack(">H", 2048))
    assert first_pixel(tmp_path / "a.pgm") == (128, 128, 128)


def test_a_tiff_whose_white_is_zero(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert first_pixel(tmp_path / "a.tif") == (177, 177, 177)


def test_sixteen_bits_a_channel(tmp_path):
    pixel = struct.pack(">HHH", 20000, 65535, 0)
    (tmp_path / "a.png").write_bytes(png((1, 1), 16, made_png.RGB, [pixel]))
    assert first_pixel(tmp_path / "a.png") == (78, 255, 0)


@pytest.mark.parametrize("name", ["a.tif", "a.pfm"])
def test_floats_run_from_0_to_1(tmp_path, name):
    Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(tmp_path / name)
    assert first_pixel(tmp_path / name) == (128, 128, 128)


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        (np.full((2, 2), 20000, np.int32), "I"),
        (np.full((2, 2), 128.0, np.float32), "F"),
        (np.full((2, 2), -0.1, np.float32), "F"),
        (np.full((2, 2), np.nan, np.float32), "F"),
    ],
)
def test_numbers_without_a_white_are_refused(tmp_path, values, mode):
    """By the image's name and Pillow's name of the mode."""
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(LabError, match=rf"a\.tif holds numbers from .* \(mode {mode}\), of which nothing says"):
        read_shown(tmp_path / "a.tif")


def test_astronomers_counts_are_refused(tmp_path):
    cards = ["SIMPLE  =                    T", "BITPIX  =                   16", "NAXIS   =                    2"]
    cards += ["NAXIS1  =                    1", "NAXIS2  =                    1", "END"]
    header = "".join(card.ljust(80) for card in cards).ljust(2880)
    (tmp_path / "a.fits").write_bytes(header.encode() + struct.pack(">h", 100).ljust(2880, b"\0"))
    with pytest.raises(LabError, match=r"a\.fits holds numbers .* \(mode I;16\)"):
        read_shown(tmp_path / "a.fits")


@pytest.mark.parametrize(
    ("mode", "colour", "name"),
    [
        ("RGBA", (0, 0, 255, 0), "a.png"),
        ("RGBA", (0, 0, 255, 0), "a.webp"),
        ("RGBA", (0, 0, 255, 0), "a.gif"),
        ("RGBA", (0, 0, 255, 0), "a.tif"),
        ("LA", (0, 0), "a.png"),
        ("LA", (0, 0), "a.tif"),
        ("PA", (0, 0), "a.tif"),
    ],
)
def test_what_is_transparent_shows_white(tmp_path, mode, colour, name):
    Image.new(mode, (2, 2), colour).save(tmp_path / name)
    assert first_pixel(tmp_path / name) == WHITE


def test_what_is_half_transparent_is_mixed_with_white(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 255, 128)).save(tmp_path / "a.png")
    assert first_pixel(tmp_path / "a.png") == (127, 127, 255)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"), [("RGBA", (0, 0, 128, 128), (127, 127, 255)), ("LA", (64, 128), (191,) * 3)]
)
def test_a_premultiplied_tiff(tmp_path, mode, colour, expected):
    """Its colours are stored as their share of the pixel: half of blue as 128, half of grey as 64."""
    path = tmp_path / "a.tif"
    Image.new(mode, (2, 2), colour).save(path)
    separate = b"\x52\1\3\0\1\0\0\0\2"  # tag ExtraSamples: 2, which Pillow always writes; 1 is premultiplied
    assert path.read_bytes().count(separate) == 1
    path.write_bytes(path.read_bytes().replace(separate, separate[:-1] + b"\1"))
    assert np.abs(np.subtract(first_pixel(path), expected)).max() <= 1


KEYED = {
    "grey of 1 bit": ((8, 1), 1, made_png.GREY, [b"\xaa"], {"tRNS": b"\0\1"}),
    "grey of 2 bits": ((4, 1), 2, made_png.GREY, [b"\x6c"], {"tRNS": b"\0\1"}),
    "grey of 4 bits": ((2, 1), 4, made_png.GREY, [b"\x71"], {"tRNS": b"\0\7"}),
    "grey of 8 bits": ((2, 1), 8, made_png.GREY, [b"\7\x08"], {"tRNS": b"\0\7"}),
    "grey of 16 bits": ((2, 1), 16, made_png.GREY, [b"\x12\x34\x12\x35"], {"tRNS": b"\x12\x34"}),
    "RGB": ((2, 1), 8, made_png.RGB, [bytes((1, 2, 3, 1, 2, 4))], {"tRNS": bytes((0, 1, 0, 2, 0, 3))}),
    "palette": ((2, 1), 8, made_png.PALETTE, [b"\0\1"], {"PLTE": bytes((9, 8, 7, 6, 5, 4)), "tRNS": b"\0"}),
}


@pytest.mark.parametrize("kind", KEYED)
def test_a_transparent_colour_shows_white_and_its_neighbour_does_not(tmp_path, kind):
    size, depth, colours, rows, chunks = KEYED[kind]
    (tmp_path / "a.png").write_bytes(png(size, depth, colours, rows, **chunks))
    shown = read_shown(tmp_path / "a.png")
    assert shown.getpixel((0, 0)) == WHITE
    assert shown.getpixel((1, 0)) != WHITE


def test_a_palette_with_degrees_of_transparency(tmp_path):
    content = png((1, 1), 8, made_png.PALETTE, [b"\0"], PLTE=bytes((0, 0, 255)), tRNS=b"\x80")
    (tmp_path / "a.png").write_bytes(content)
    assert first_pixel(tmp_path / "a.png") == (127, 127, 255)


@pytest.mark.parametrize("transparent", [False, True])
def test_where_the_picture_of_a_gif_does_not_reach_nothing_is_shown(tmp_path, transparent):
    """Programs that make GIFs small leave the border of a canvas out; browsers show none."""
    control = b"!\xf9\4\1\0\0\2\0" if transparent else b""
    canvas = b"GIF89a" + struct.pack("<HHBBB", 3, 3, 0x91, 1, 0) + bytes((255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9))
    pixel = b"," + struct.pack("<HHHHB", 1, 1, 1, 1, 0) + b"\2\2\x44\1\0;"  # the first colour, red
    (tmp_path / "a.gif").write_bytes(canvas + control + pixel)
    shown = read_shown(tmp_path / "a.gif")
    assert {shown.getpixel((x, y)) for x in range(3) for y in range(3) if (x, y) != (1, 1)} == {WHITE}
    assert shown.getpixel((1, 1)) == (255, 0, 0)


def test_a_transparent_colour_that_eight_bits_cannot_tell_is_refused(tmp_path):
    pixel = struct.pack(">HHH", 20000, 5, 6)
    (tmp_path / "a.png").write_bytes(png((1, 1), 16, made_png.RGB, [pixel], tRNS=pixel))
    with pytest.raises(LabError, match=r"a\.png .* transparent \(mode RGB;16B\)"):
        read_shown(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("mode", "colour", "name", "expected"),
    [
        ("CMYK", (0, 255, 255, 0), "a.tif", (255, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "a.jpg", (255, 0, 0)),
        ("YCbCr", (76, 85, 255), "a.tif", (255, 0, 0)),
        ("1", 1, "a.png", WHITE),
        ("1", 1, "a.tif", WHITE),
        ("L", 77, "a.jpg", (77, 77, 77)),
        ("P", 0, "a.bmp", (0, 0, 0)),
    ],
)
def test_other_colour_models(tmp_path, mode, colour, name, expected):
    Image.new(mode, (8, 8), colour).save(tmp_path / name)
    assert np.abs(np.subtract(first_pixel(tmp_path / name), expected)).max() <= 2


def test_lab(tmp_path):
    Image.new("RGB", (2, 2), (200, 30, 90)).convert("LAB").save(tmp_path / "a.tif")
    assert np.abs(np.subtract(first_pixel(tmp_path / "a.tif"), (200, 30, 90))).max() <= 4


def swapped_srgb() -> bytes:
    """A profile under which numbers for red mean green."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = plain[128:].split(b"desc", 1)[0]
    assert b"rXYZ" not in tags
    return plain.replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"?XYZ", b"gXYZ", 1)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_a_colour_profile_says_what_the_numbers_mean(tmp_path, name):
    Image.new("RGB", (8, 8), "red").save(tmp_path / name, icc_profile=swapped_srgb(), lossless=True)
    red, green, _ = first_pixel(tmp_path / name)
    assert green > 200 > 100 > red


def test_a_colour_profile_leaves_transparency_alone(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "a.png", icc_profile=swapped_srgb())
    assert first_pixel(tmp_path / "a.png") == WHITE


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_profile_of_other_channels_is_ignored(tmp_path, mode):
    image = Image.new(mode, (8, 8), 100 if mode == "L" else (0, 255, 255, 0))
    image.save(tmp_path / "a.tif", icc_profile=swapped_srgb())
    assert first_pixel(tmp_path / "a.tif") == ((100, 100, 100) if mode == "L" else (255, 0, 0))


def test_a_damaged_profile_and_that_of_srgb_change_nothing(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for profile in (b"junk", srgb):
        Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
        assert np.array_equal(np.asarray(read_shown(tmp_path / "a.png")), pixels)


def test_a_long_text_beside_the_pixels_is_no_damage(tmp_path):
    """Programs that generate images keep the whole workflow there."""
    text = PngInfo()
    text.add_itxt("workflow", "x" * 3 * 2**20, zip=True)
    Image.new("RGB", (2, 2), "red").save(tmp_path / "a.png", pnginfo=text)
    assert first_pixel(tmp_path / "a.png") == (255, 0, 0)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_the_first_picture_of_several_counts(tmp_path, name):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "lime"))
    first.save(tmp_path / name, save_all=True, append_images=[second])
    assert np.abs(np.subtract(first_pixel(tmp_path / name), (255, 0, 0))).max() <= 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        (b"", "is damaged or cut short"),
        (b"ftypheic", "or of a kind that Pillow cannot read"),
        (b"P5 20000 20000 255\n", "has more than 178956970 pixels"),
        (png((1, 1), 8, made_png.RGB, [b""])[:-20], "is damaged or cut short"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, content, said):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(LabError, match=rf"a\.png .*{said}"):
        read_shown(tmp_path / "a.png")
