"""The command that fetches weights, as messages name it."""

from collections.abc import Iterable
from pathlib import Path

from compbench.weights.registry import NEEDS


def command(weights: Path, categories: Iterable[str]) -> str:
    """Fetches what `categories` need into the folder `weights`."""
    place = "" if weights == Path("weights") else f" --weights {weights}"
    return f"python -m compbench.weights {' '.join(categories)}{place}"


def command_for(weights: Path, name: str) -> str:
    """Fetches one of the registry's files, and as little besides as can be.

    Args:
        name: its path in the weights folder.
    """
    categories = [category for category, files in NEEDS.items() if any(file.path == name for file in files)]
    return command(weights, [min(categories, key=lambda category: len(NEEDS[category]))])
