"""Images that people bring, as a viewer shows them: upright, over white, 8 bits a channel, in sRGB.

What Pillow's own conversion to RGB leaves out: it ignores the camera's orientation and colour profiles, drops
transparency, so that what was cut away comes back, and clips deep images at 255.

Of several pictures in a file (an animation, pages), the first counts.
"""

import io
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from lab.data.images import naming
from lab.errors import LabError

# By how a PNG keeps its greys: Pillow brings pixels to 8 bits, but leaves the transparent grey as the file has it.
GREY_STEPS = {"L;2": 85, "L;4": 17}
# Of a compressed text beside the pixels, such as the workflow that made them. Pillow allows a megabyte, and this many
# of all texts together.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # tags of TIFF
WHITE_IS_ZERO = 0


def read_shown(path: Path) -> Image.Image:
    """The image as a viewer shows it, as RGB; its size is that after the turn, and it carries no metadata.

    Raises:
        LabError: the file is missing, damaged or cut short, or its numbers have no one meaning as colours.
    """
    with naming(path), Image.open(path) as image:
        return shown(image)


def shown(image: Image.Image) -> Image.Image:
    """`read_shown` of an image that is open and not yet decoded; what Pillow raises for a damaged one passes through.

    Raises:
        LabError: its numbers have no one meaning as colours.
    """
    _correct_transparent_colour(image)
    drawn = image.tile[0].extents if image.format == "GIF" else (0, 0, *image.size)
    _load(image)
    colour, alpha = _colour_and_alpha(image)
    if alpha is None and drawn != (0, 0, *image.size):  # where the picture does not reach, nothing is shown
        alpha = Image.new("L", image.size)
        alpha.paste(255, drawn)
    colour = _in_srgb(colour, image.info.get("icc_profile"))
    if alpha is not None:
        colour = Image.composite(colour, Image.new("RGB", colour.size, "white"), alpha)
    return _upright(colour, image)


def _load(image: Image.Image) -> None:
    """Decodes. Without a name Pillow reads the file: mapped into memory, a turned TIFF gets rows of its other side."""
    name, image.filename = image.filename, ""
    image.load()
    image.filename = name


def _colour_and_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours as L, RGB or CMYK, which colour profiles speak of, and opacity as L where there is any."""
    if image.mode[0] in "IF":
        return _eight_bits(image)
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        *bands, alpha = image.convert("LA" if grey else "RGBA").split()
        return (bands[0] if grey else Image.merge("RGB", bands)), alpha
    if image.mode == "1":
        return image.convert("L"), None
    return (image if image.mode in ("L", "CMYK") else image.convert("RGB")), None


def _eight_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Of one channel of 16-bit integers or floats: white is the highest that fits in, or 1."""
    values = np.asarray(image).astype(np.float64)
    light = values / _white(image, values)
    if image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC, WHITE_IS_ZERO) == WHITE_IS_ZERO:
        light = 1 - light
    alpha = None
    if "transparency" in image.info:
        alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    return Image.fromarray(np.round(255 * light).astype(np.uint8)), alpha


def _white(image: Image.Image, values: np.ndarray) -> float:
    """The value of white. Raises: LabError where the file does not say one."""
    if image.mode.startswith("I;16") and image.format != "FITS":  # astronomers' counts have a sign and no white
        bits = image.tag_v2[BITS_PER_SAMPLE][0] if image.format == "TIFF" else 16
        return 2**bits - 1
    if image.mode == "I" and image.format == "PPM":  # which Pillow brings to 16 bits
        return 2**16 - 1
    if image.mode == "F" and values.min() >= 0 and values.max() <= 1:
        return 1
    raise LabError(
        f"The image {image.filename} holds numbers from {values.min():g} to {values.max():g} (mode {image.mode}), of "
        "which nothing says what is white: save it with 8 or 16 bits a channel, or as floats from 0 to 1."
    )


def _correct_transparent_colour(image: Image.Image) -> None:
    """Brings a PNG's transparent colour to the range of its pixels; only before they are decoded is theirs known."""
    if image.format != "PNG" or not isinstance(image.info.get("transparency"), (int, tuple)):
        return
    kept_as = image.tile[0].args
    if kept_as == "RGB;16B":
        raise LabError(
            f"The image {image.filename} makes one colour of 16 bits a channel transparent (mode RGB;16B), which "
            "cannot be told from its neighbours in 8: save it with an alpha channel."
        )
    image.info["transparency"] *= GREY_STEPS.get(kept_as, 1)


def _in_srgb(colour: Image.Image, profile: bytes | None) -> Image.Image:
    """As RGB. A profile that is damaged, or of other channels than the image has, is ignored, as viewers do."""
    if profile is not None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(colour, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (OSError, ImageCms.PyCMSError):
            pass
    return colour.convert("RGB")


def _upright(colour: Image.Image, image: Image.Image) -> Image.Image:
    """`colour` turned as the metadata of `image` say, and without them. Broken ones turn nothing, as in viewers."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError):
        orientation = 1
    colour.info.clear()
    colour.getexif()[ExifTags.Base.Orientation] = orientation
    return ImageOps.exif_transpose(colour)
