"""Whether bytes are an image that can be learnt from: decoded to the end, by no header's word."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import imagehash
from PIL import Image, UnidentifiedImageError

from lab.data.fetching.outcomes import Denied
from lab.data.fetching.settings import Settings
from lab.data.shown import shown
from lab.errors import LabError

# What the web serves as images; an MPO is opened as a JPEG. Of Pillow's other readers some start programs, as EPS's.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")
LARGE = 2**24  # pixels above which images are decoded one by one: 50 megapixels take some 500 MB at their peak
_one_large = Lock()


@dataclass(frozen=True)
class Look:
    """Size in pixels as shown, and the perceptual hash of 64 bits, in hex."""

    width: int
    height: int
    phash: str


def look(path: Path, settings: Settings) -> Look:
    """Decodes an image that a stranger sent.

    Raises:
        Denied: it is none, too large, too small, animated, broken, or of no known colours.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            pixels = _check_header(image, settings)
            with _one_large if pixels > LARGE else nullcontext():
                upright = shown(image)
                return Look(*upright.size, str(imagehash.phash(upright)))
    except Denied:
        raise
    except UnidentifiedImageError:
        raise _unidentified(path) from None
    except Image.DecompressionBombError:
        raise Denied("pixels", f"more than {2 * Image.MAX_IMAGE_PIXELS}") from None
    except LabError:
        raise Denied("colours", f"{image.format} of mode {image.mode}") from None
    except Exception as error:  # decoders raise whatever strangers' bytes lead them to
        raise Denied("broken", f"{type(error).__name__}: {error}"[:200].replace(str(path), "the file")) from None


def _check_header(image: Image.Image, settings: Settings) -> int:
    """Of the size that the file states, before memory is taken for it: its number of pixels."""
    width, height = image.size
    if width * height > settings.max_pixels:
        raise Denied("pixels", f"{width} x {height}")
    if min(width, height) < settings.min_side:
        raise Denied("small", f"{width} x {height}")
    # A phone's MPO holds a photograph and its preview or depth; of other files' pictures none is the one.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise Denied("animated", image.format)
    return width * height


def _unidentified(path: Path) -> Denied:
    with path.open("rb") as file:
        start = file.read(24)
    return Denied("not-an-image", f"begins with {start!r}" if start else "no bytes")
