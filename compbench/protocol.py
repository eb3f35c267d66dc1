"""How many images of which prompts were scored, and whether that is a protocol that has a name."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from compbench.images import ImageRow
from compbench.prompt_source import COMPBENCH
from compbench.val_prompts import read_compbench_prompts

IMAGES_PER_PROMPT = 10


@dataclass(frozen=True)
class Protocol:
    """Which of the benchmark's prompts are drawn, and how often; `before` is as in `read_compbench_prompts`."""

    name: str
    label: str
    splits: tuple[str, ...]
    before: bool
    images_per_prompt: int


STANDARD = Protocol("standard", "the official protocol", ("val",), False, IMAGES_PER_PROMPT)
# Inferred: TACA's paper (arXiv 2506.07986) says nothing of its prompts, and predates their change.
PAPER = Protocol("paper", "not the official protocol: that of TACA's paper", ("train", "val"), True, 1)


def describe_protocol(source: str, rows: Mapping[str, Sequence[ImageRow]]) -> dict:
    """What results say of their protocol.

    It is the official one when all 300 val prompts of each category have 10 images (T2I-CompBench, Huang et al., 2023,
    arXiv 2307.06350), whatever was asked for on the command line. Of the benchmark's prompts it names the hashes.

    Args:
        source: as given to `read_source`; of a file only the name is kept.
        rows: the images of each category.
    """
    numbers = {category: _numbers(images) for category, images in rows.items()}
    found = {
        "label": "not the official protocol",
        "official": False,
        "source": Path(source).name,
        "categories": numbers,
    }
    if source != COMPBENCH:
        return found
    hashes = {category: _hash(_texts(images)) for category, images in rows.items()}
    for protocol in (STANDARD, PAPER):
        per_prompt = [protocol.images_per_prompt] * 2
        if all(
            hashes[category] == _protocol_hash(protocol, category) and number["per_prompt"] == per_prompt
            for category, number in numbers.items()
        ):
            found |= {"label": protocol.label, "official": protocol is STANDARD, "name": protocol.name}
    return found | {"prompts_sha256": hashes}


@cache
def _protocol_hash(protocol: Protocol, category: str) -> str:
    return _hash(
        [text for split in protocol.splits for text in read_compbench_prompts(category, split, before=protocol.before)]
    )


def _texts(images: Sequence[ImageRow]) -> list[str]:
    """The prompts, each once, in the order of their numbers."""
    return [text for _, text in sorted({row.prompt_index: row.prompt for row in images}.items())]


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("".join(f"{text}\n" for text in texts).encode()).hexdigest()


def _numbers(images: Sequence[ImageRow]) -> dict:
    """`per_prompt` is the fewest and the most images of one prompt."""
    of_prompt = Counter(row.prompt_index for row in images)
    per_prompt = [min(of_prompt.values()), max(of_prompt.values())]
    return {"prompts": len(of_prompt), "images": len(images), "per_prompt": per_prompt}
