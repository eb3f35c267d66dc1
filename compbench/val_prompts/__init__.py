"""The benchmark's val prompts (T2I-CompBench, Huang et al., 2023, arXiv 2307.06350; MIT licence, see README.md)."""

from pathlib import Path

FOLDER = Path(__file__).parent
CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")


def read_compbench_prompts(category: str) -> list[str]:
    """The 300 val prompts of one of `CATEGORIES`, in the order in which the benchmark numbers them."""
    return read_lines(f"{category}_val.txt")


def read_lines(name: str) -> list[str]:
    """The lines of a file of this folder."""
    return (FOLDER / name).read_text(encoding="utf-8").splitlines()
