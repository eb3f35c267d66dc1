"""Reading images so that a damaged one is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from compbench.errors import CompbenchError


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
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises any of them for bytes that are no image
        reason = "does not exist" if isinstance(error, FileNotFoundError) else "is damaged or cut short"
        raise CompbenchError(f"The image {path} {reason}: {remedy}.") from error
