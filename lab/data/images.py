"""Images that the models learn from, as RGB."""

from pathlib import Path

from PIL import Image

from lab.errors import LabError


def read_image(path: Path) -> Image.Image:
    """The whole image, decoded, as RGB.

    Raises:
        LabError: the file is missing, damaged or cut short.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises any of them for bytes that are no image
        reason = "does not exist" if isinstance(error, FileNotFoundError) else "is damaged or cut short"
        raise LabError(f"The image {path} {reason}: sample the images again, or replace it.") from error
