"""Prompt files: the benchmark's own, or a folder with files like the benchmark's."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from compbench import val_prompts
from compbench.errors import CompbenchError
from compbench.parsing import Parse, parse_prompts
from compbench.parsing.official import RULES
from compbench.text import prompt_lines
from compbench.val_prompts import CATEGORIES, read_compbench_prompts

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
JOINED = "+"  # between splits that are taken one after the other
# A prompt is part of its images' file names, whose bytes file systems count, not their characters.
MAX_BYTES = 255 - len("_000000.png")
# Those that every folder of prompts has; the others it may go without.
ALWAYS = ("color", "shape", "texture", "spatial", "non_spatial", "complex")


def read_benchmark(
    split: str,
    per_category: int,
    categories: Sequence[str] | None = None,
    parser: str = RULES,
    *,
    before: bool = False,
) -> list[dict]:
    """The benchmark's own prompts, of all categories unless given; see `read_folder`.

    Args:
        before: as they were before 2025-09-03, when the benchmark replaced five colour prompts.
    """
    texts = {
        (category, one): read_compbench_prompts(category, one, before=before)
        for category in categories or CATEGORIES
        for one in split.split(JOINED)
    }
    unseen = {category: _unseen(val_prompts.FOLDER, category) for category, _ in texts}
    return _rows(texts, per_category, unseen, parser, "the benchmark")


def read_folder(
    folder: Path, split: str, per_category: int, categories: Sequence[str] | None = None, parser: str = RULES
) -> list[dict]:
    """Prompts category by category as rows of `SCHEMA`, numbered in the order of the files <category>_<split>.txt.

    Args:
        split: "val", "train", or "train+val" for both files of each category, one after the other.
        per_category: how many prompts of each category: the first ones of its files.
        categories: all that the folder has, unless given; it may go without 3d_spatial and numeracy.
        parser: who parses the prompts: "rules", "spacy", "spacy-3.6", or the path of a parses file (`parse_prompts`).

    Raises:
        CompbenchError: a file, enough prompts, the parser or a prompt's parse is missing, or a prompt cannot be part of
            a file name.
    """
    splits = split.split(JOINED)
    present = [c for c in CATEGORIES if c in ALWAYS or all(_file(folder, c, one).exists() for one in splits)]
    texts = {(c, one): _lines(_file(folder, c, one)) for c in categories or present for one in splits}
    unseen = {category: _unseen(folder, category) for category, _ in texts}
    return _rows(texts, per_category, unseen, parser, str(folder))


def numbered(rows: Sequence[dict]) -> list[dict]:
    """Rows of `SCHEMA` made of rows of `prompt_row`.

    Raises:
        CompbenchError: a prompt cannot be part of a file name.
    """
    for row in rows:
        _check(row["prompt"])
    return [{"index": index, **row} for index, row in enumerate(rows)]


def prompt_row(prompt: str, category: str, split: str, unseen: bool, parse: Parse) -> dict:
    """A row of `SCHEMA` but for its number."""
    lists = {name: list(getattr(parse, name)) for name in ("phrases", "objects", "counts")}
    return {"split": split, **vars(parse), **lists, "prompt": prompt, "category": category, "unseen": unseen}


def _check(prompt: str) -> None:
    length = len(prompt.encode())
    if any(character in prompt for character in "_/\0") or length > MAX_BYTES:
        raise CompbenchError(
            f"The prompt {prompt!r} ({length} bytes) cannot be part of an image's file name: remove `_`, `/` and NUL "
            f"from it and keep it to {MAX_BYTES} bytes in UTF-8."
        )


def _rows(
    texts: Mapping[tuple[str, str], list[str]],
    per_category: int,
    unseen: Mapping[str, Collection[str]],
    parser: str,
    source: str,
) -> list[dict]:
    """Rows of the first `per_category` prompts of each category; `texts` by category and split."""
    rows = []
    for category in dict.fromkeys(category for category, _ in texts):
        found = [(text, split) for (of, split), lines in texts.items() if of == category for text in lines]
        if len(found) < per_category:
            raise CompbenchError(
                f"{per_category} prompts of each category were asked for, but {source} holds {len(found)} of "
                f"{category}; ask for fewer or add prompts.",
                "per_category",
            )
        found = found[:per_category]
        parses = parse_prompts([text for text, _ in found], category, parser)
        rows += [
            prompt_row(text, category, split, split == "val" and text in unseen[category], parse)
            for (text, split), parse in zip(found, parses, strict=True)
        ]
    return numbered(rows)


def _unseen(folder: Path, category: str) -> set[str]:
    path = _file(folder, category, "val_unseen")
    return set(_lines(path)) if path.exists() else set()


def _file(folder: Path, category: str, split: str) -> Path:
    return folder / f"{category}_{split}.txt"


def _lines(path: Path) -> list[str]:
    if not path.exists():
        raise CompbenchError(
            f"The prompt file {path} does not exist; its folder must hold <category>_<split>.txt files as the "
            "benchmark has them.",
            "folder",
        )
    return prompt_lines(path)
