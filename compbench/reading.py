"""Reading images so that a damaged one is named."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image

from compbench.errors import CompbenchError

# What Pillow raises for bytes that are no image, by the decoder that meets them; a bomb is an image of 180 megapixels.
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, RuntimeError, TypeError, struct.error),
    Image.DecompressionBombError,
)
END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk of every PNG


def read_image(path: Path, remedy: str) -> Image.Image:
    """The whole image, decoded, as RGB. The file is read once.

    Raises:
        CompbenchError: the file is missing, damaged or cut short; ends with `remedy`.
    """
    content = BytesIO(read_verified(path, remedy))
    with _naming(path, remedy), Image.open(content) as image:
        return image.convert("RGB")


def read_verified(path: Path, remedy: str) -> bytes:
    """The image's file, its checksums, which decoding leaves aside, compared. Raises what `read_image` raises."""
    with _naming(path, remedy):
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as image:
            image.verify()
    return content


def check_whole(path: Path, remedy: str) -> None:
    """Looks at the file's beginning and end alone. Raises what `read_image` raises, but for damage in between."""
    with _naming(path, remedy), path.open("rb") as file, Image.open(file) as image:
        file.seek(-len(END), os.SEEK_END)
        if file.read() != END:  # of another format, or with more behind its end: the whole file says
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
