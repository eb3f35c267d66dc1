"""Reading images so that a damaged one is named."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from compbench.errors import CompbenchError

# What Pillow raises for bytes that are no image, by the decoder that meets them; a bomb is an image of 180 megapixels.
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, RuntimeError, TypeError, struct.error),
    Image.DecompressionBombError,
)


def read_image(path: Path, remedy: str) -> Image.Image:
    """The whole image, decoded, as RGB.

    Raises:
        CompbenchError: the file is missing, damaged or cut short; ends with `remedy`.
    """
    with _naming(path, remedy), Image.open(path) as image:
        return image.convert("RGB")


def verify_image(path: Path, remedy: str) -> None:
    """Reads the file through, checksums included, without decoding it. Raises what `read_image` raises."""
    with _naming(path, remedy), Image.open(path) as image:
        image.verify()


@contextmanager
def _naming(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise CompbenchError(f"The image {path} {unreadable(error)}: {remedy}.") from error


def unreadable(error: Exception) -> str:
    """What one of `UNREADABLE` says of a file."""
    match error:
        case FileNotFoundError():
            return "does not exist"
        case PermissionError():
            return "may not be read by this user"
        case Image.DecompressionBombError():
            return f"has more than {2 * Image.MAX_IMAGE_PIXELS} pixels"
    return "is damaged or cut short, or of a kind that Pillow cannot read"
