"""The page: one HTML file that needs no network and names no arm."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from compbench.images import open_image
from lab.study.pairs import SIDES, Pair

CRITERIA = {
    "overall": ("Overall", "Which image do you prefer overall?"),
    "attribute_quality": ("Attribute quality", "Which image has the better colours, shapes and textures?"),
    "text_image_alignment": ("Text-image alignment", "Which image matches the text better?"),
}
"""The paper's three criteria: the name in its Table 3, and the question."""


def render_page(pairs: Sequence[Pair], folders: Mapping[str, Path]) -> tuple[str, str]:
    """The page's HTML and the study's id, which stands in the page and in every file of answers.

    Raises:
        CompbenchError: an image is missing or damaged.
    """
    shown = [{side: _picture(folders[getattr(pair, side)] / pair.path) for side in SIDES} for pair in pairs]
    content = [[pair.prompt, *images.values()] for pair, images in zip(pairs, shown, strict=True)]
    study = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("lab.study") / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        study=study,
        questions=[{"prompt": pair.prompt, **images} for pair, images in zip(pairs, shown, strict=True)],
        criteria={key: question for key, (_, question) in CRITERIA.items()},
    ), study


def _picture(path: Path) -> str:
    """The image as a data: address, its pixels unchanged; nothing that a file may say of its origin comes along."""
    content = BytesIO()
    open_image(path).save(content, "WEBP", lossless=True, exif=b"", xmp=b"", icc_profile=b"")
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
