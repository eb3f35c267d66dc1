"""Images that the models learn from, as RGB."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from compbench.reading import UNREADABLE, unreadable
from lab.errors import LabError


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
        raise LabError(f"The image {path} {unreadable(error)}: sample the images again, or replace it.") from error
