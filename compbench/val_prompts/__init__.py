"""The benchmark's prompts (T2I-CompBench, Huang et al., 2023, arXiv 2307.06350; MIT licence, see README.md)."""

from pathlib import Path

FOLDER = Path(__file__).parent
CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")
BEFORE = "before-2025-09"  # the folder of the files that were others until 2025-09-03
PARSES = FOLDER / "spacy-3.6.jsonl.xz"


def read_compbench_prompts(category: str, split: str = "val", *, before: bool = False) -> list[str]:
    """The prompts of one of `CATEGORIES`, in the order in which the benchmark numbers them.

    Args:
        split: "val" (300 prompts) or "train" (700).
        before: as they were before 2025-09-03, when five colour prompts were duplicates of others.
    """
    name = f"{category}_{split}.txt"
    return read_lines(f"{BEFORE}/{name}" if before and (FOLDER / BEFORE / name).exists() else name)


def read_lines(name: str) -> list[str]:
    """The lines of a file of this folder."""
    return (FOLDER / name).read_text(encoding="utf-8").splitlines()
