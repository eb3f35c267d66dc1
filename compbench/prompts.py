"""Prompt files: the benchmark's own, or a folder with files like the benchmark's."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from compbench import val_prompts
from compbench.errors import CompbenchError
from compbench.parsing import Parse, parse_prompts
from compbench.parsing.official import RULES

SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("prompt", pa.string()),
        ("category", pa.string()),
        ("phrases", pa.list_(pa.string())),
        ("objects", pa.list_(pa.string())),
        ("relation", pa.string()),
        ("count", pa.int64()),
        ("split", pa.string()),
        ("unseen", pa.bool_()),
        ("counts", pa.list_(pa.int64())),
        ("clip_text", pa.string()),
        ("subset", pa.string()),
        ("parser", pa.string()),
    ]
)
MAX_LENGTH = 200  # characters: a prompt is part of its images' file names
# Those that every folder of prompts has; the others it may go without.
ALWAYS = ("color", "shape", "texture", "spatial", "non_spatial", "complex")


def read_benchmark(
    split: str, per_category: int, categories: Sequence[str] | None = None, parser: str = RULES
) -> list[dict]:
    """The benchmark's own val prompts; see `read_folder`."""
    if split != "val":
        raise CompbenchError(
            f"The split is {split!r}, but must be val: the val prompts alone are here; take others from a folder.",
            "split",
        )
    return read_folder(val_prompts.FOLDER, split, per_category, categories, parser)


def read_folder(
    folder: Path, split: str, per_category: int, categories: Sequence[str] | None = None, parser: str = RULES
) -> list[dict]:
    """Prompts category by category as rows of `SCHEMA`, numbered in the order of the files <category>_<split>.txt.

    Args:
        per_category: how many prompts of each category: the first ones of its file.
        categories: all that the folder has, unless given; it may go without 3d_spatial and numeracy.
        parser: who parses the prompts: "rules", "spacy", or the path of a parses file (`parse_prompts`).

    Raises:
        CompbenchError: a file, enough prompts, the parser or a prompt's parse is missing, or a prompt cannot be part of
            a file name.
    """
    present = [c for c in val_prompts.CATEGORIES if c in ALWAYS or _file(folder, c, split).exists()]
    rows = [row for c in categories or present for row in _read_category(folder, c, split, per_category, parser)]
    return numbered(rows, split)


def numbered(rows: Sequence[dict], split: str) -> list[dict]:
    """Rows of `SCHEMA` made of rows of `prompt_row`.

    Raises:
        CompbenchError: a prompt cannot be part of a file name.
    """
    for row in rows:
        _check(row["prompt"])
    return [{"index": index, "split": split, **row} for index, row in enumerate(rows)]


def prompt_row(prompt: str, category: str, unseen: bool, parse: Parse) -> dict:
    """A row of `SCHEMA` but for its number and split."""
    lists = {name: list(getattr(parse, name)) for name in ("phrases", "objects", "counts")}
    return {**vars(parse), **lists, "prompt": prompt, "category": category, "unseen": unseen}


def _check(prompt: str) -> None:
    if "_" in prompt or "/" in prompt or len(prompt) > MAX_LENGTH:
        raise CompbenchError(
            f"The prompt {prompt!r} cannot be part of an image's file name: remove `_` and `/` from it and keep it to "
            f"{MAX_LENGTH} characters."
        )


def _read_category(folder: Path, category: str, split: str, per_category: int, parser: str) -> list[dict]:
    path = _file(folder, category, split)
    lines = _lines(path)
    if len(lines) < per_category:
        raise CompbenchError(
            f"{per_category} prompts of each category were asked for, but {path} holds {len(lines)}; ask for fewer or "
            "add prompts.",
            "per_category",
        )
    unseen_path = _file(folder, category, f"{split}_unseen")
    unseen = set(_lines(unseen_path)) if unseen_path.exists() else set()
    lines = lines[:per_category]
    parses = parse_prompts(lines, category, parser)
    return [prompt_row(line, category, line in unseen, parse) for line, parse in zip(lines, parses, strict=True)]


def _file(folder: Path, category: str, split: str) -> Path:
    return folder / f"{category}_{split}.txt"


def _lines(path: Path) -> list[str]:
    """The file's prompts; the benchmark's files end lines in CRLF or LF, and some lack the last."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CompbenchError(
            f"The prompt file {path} does not exist; its folder must hold <category>_<split>.txt files as the "
            "benchmark has them.",
            "folder",
        ) from None
    return [line.strip() for line in text.splitlines() if line.strip()]
