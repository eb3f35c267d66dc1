"""Which scores make up the 3-in-1 score of a complex prompt."""

from functools import cache

from compbench.val_prompts import read_lines

_LISTED = ("spatial", "action")


def subset(prompt: str) -> str:
    """ "spatial" or "action" for a prompt of the benchmark's list of that name, else "spatialaction", as it does."""
    return next((name for name in _LISTED if _normalized(prompt) in _prompts(name)), "spatialaction")


@cache
def _prompts(name: str) -> frozenset[str]:
    files = (f"complex_{split}_{name}.txt" for split in ("val", "train"))
    return frozenset(_normalized(line) for file in files for line in read_lines(file))


def _normalized(prompt: str) -> str:
    return prompt.split(".")[0].lower()
