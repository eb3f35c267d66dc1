"""Images that the models learn from, as RGB."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from lab.errors import LabError

# What Pillow raises for bytes that are no image, by the decoder that meets them; a bomb is an image of 180 megapixels.
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error),
    Image.DecompressionBombError,
)


def read_image(path: Path) -> Image.Image:
    """The whole image, decoded, as RGB, of a file that the sample has: 8 bits a channel, nothing transparent or turned.

    Raises:
        LabError: the file is missing, damaged or cut short.
    """
    with naming(path), Image.open(path) as image:
        return image.convert("RGB")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Says of which file it is that Pillow could not read it. Raises: LabError."""
    try:
        yield
    except UNREADABLE as error:
        raise LabError(f"The image {path} {_reason(error)}: sample the images again, or replace it.") from error


def _reason(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "does not exist"
        case PermissionError():
            return "may not be read by this user"
        case Image.DecompressionBombError():
            return f"has more than {2 * Image.MAX_IMAGE_PIXELS} pixels"
    return "is damaged or cut short, or of a kind that Pillow cannot read"
