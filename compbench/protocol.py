"""How many images of which prompts were scored, and whether that is the benchmark's protocol."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from compbench.images import ImageRow
from compbench.prompt_source import COMPBENCH, PER_CATEGORY

IMAGES_PER_PROMPT = 10


def describe_protocol(source: str, rows: Mapping[str, Sequence[ImageRow]]) -> dict:
    """What results say of their protocol.

    It is the official one when all 300 val prompts of each category have 10 images (T2I-CompBench, Huang et al., 2023,
    arXiv 2307.06350), whatever was asked for on the command line.

    Args:
        source: as given to `read_source`; of a file only the name is kept.
        rows: the images of each category.
    """
    numbers = {category: _numbers(images) for category, images in rows.items()}
    full = {"prompts": PER_CATEGORY, "images": PER_CATEGORY * IMAGES_PER_PROMPT, "per_prompt": [IMAGES_PER_PROMPT] * 2}
    official = source == COMPBENCH and all(found == full for found in numbers.values())
    return {
        "label": "the official protocol" if official else "not the official protocol",
        "official": official,
        "source": Path(source).name,
        "categories": numbers,
    }


def _numbers(images: Sequence[ImageRow]) -> dict:
    """`per_prompt` is the fewest and the most images of one prompt."""
    of_prompt = Counter(row.prompt_index for row in images)
    per_prompt = [min(of_prompt.values()), max(of_prompt.values())]
    return {"prompts": len(of_prompt), "images": len(images), "per_prompt": per_prompt}
