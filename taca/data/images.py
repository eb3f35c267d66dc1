"""Reading images so that a damaged one is named."""

from pathlib import Path

from PIL import Image

from taca.errors import StageError


def read_image(path: Path) -> Image.Image:
    """The whole image, decoded, as RGB.

    Raises:
        StageError: the file is missing, damaged or cut short.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else "is damaged or cut short"
        raise StageError(
            f"The image {path} {reason}: run `dvc repro -f sample` if the sample stage made it, or replace it."
        ) from error
