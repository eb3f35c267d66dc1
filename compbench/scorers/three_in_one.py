"""The benchmark's 3-in-1 score of complex prompts: attributes, positions and CLIP similarity in one number."""

from collections.abc import Mapping, Sequence

from compbench.errors import CompbenchError
from compbench.scorers.interface import Prompt

PARTS = ("attribute", "spatial", "clip")

# Which parts count, by the part of the benchmark's complex prompts that a prompt belongs to; all for those of no part.
SUBSETS = {
    "spatial": ("attribute", "spatial"),
    "action": ("attribute", "clip"),
    "spatialaction": PARTS,
    None: PARTS,
}


def three_in_one(scores: Mapping[str, Sequence[float]], prompts: Sequence[Prompt]) -> list[float]:
    """Mean of the parts that count for each image's prompt; any number of images may share a prompt.

    Raises: CompbenchError for a prompt of an unknown subset.
    """
    return [
        sum(scores[part][position] for part in parts) / len(parts)
        for position, parts in enumerate(map(parts_of, prompts))
    ]


def parts_of(prompt: Prompt) -> tuple[str, ...]:
    """The parts that count for a prompt, in the order in which they are added up."""
    if prompt.subset not in SUBSETS:
        raise CompbenchError(
            f'Prompt {prompt.index} ("{prompt.prompt}") has the subset {prompt.subset!r}, but the 3-in-1 score knows '
            f"{', '.join(filter(None, SUBSETS))}: correct it in the prompts table."
        )
    return SUBSETS[prompt.subset]
