"""Prompt sources: the built-in world, the benchmark's own prompts, or a folder with files like the benchmark's."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from taca.data import compbench
from taca.data.parsing import Parse, parse_prompts
from taca.data.parsing.official import RULES, WORLD
from taca.errors import StageError
from taca.world.prompts import CATEGORIES, world_prompts

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


def load_prompts(
    source: str,
    folder: str | None,
    split: str,
    per_category: int,
    seed: int,
    categories: tuple[str, ...] | None = None,
    parser: str = RULES,
) -> list[dict]:
    """Prompts category by category as rows of `SCHEMA`, numbered in the order of the prompt files.

    Args:
        source: "world"; "compbench" for the benchmark's val prompts; "folder" for files like them in `folder`.
        per_category: how many prompts of each category; files give their first ones.
        categories: all that the source has, unless given. The world has six; the benchmark and a folder have 3d_spatial
            and numeracy besides, which a folder may go without.
        parser: who parses prompts from files: "rules", "spacy", or the path of a parses file (`parse_prompts`).

    Raises:
        StageError: a file, enough prompts, the parser or a prompt's parse is missing, a prompt cannot be part of a file
            name, or the source does not go with the split or parser.
    """
    rows = _SOURCES[source](folder, split, per_category, seed, categories, parser)
    for row in rows:
        _check(row["prompt"])
    return [{"index": index, "split": split, **row} for index, row in enumerate(rows)]


def _row(prompt: str, category: str, unseen: bool, parse: Parse) -> dict:
    lists = {name: list(getattr(parse, name)) for name in ("phrases", "objects", "counts")}
    return {**vars(parse), **lists, "prompt": prompt, "category": category, "unseen": unseen}


def _check(prompt: str) -> None:
    if "_" in prompt or "/" in prompt or len(prompt) > MAX_LENGTH:
        raise StageError(
            f"The prompt {prompt!r} cannot be part of an image's file name: remove `_` and `/` from it and keep it to "
            f"{MAX_LENGTH} characters."
        )


def _from_world(_folder, split, per_category, seed, categories, parser) -> list[dict]:
    if parser != RULES:
        raise StageError(
            f"`prompts.parser` is {parser!r}, but must be rules, since the world's prompts come with their parse; for "
            "another, set `prompts.source` to compbench or folder."
        )
    return [
        _row(p.prompt, p.category, p.unseen, Parse(WORLD, p.phrases, p.objects, p.relation, p.count))
        for p in world_prompts(split, per_category, seed)
        if p.category in (categories or CATEGORIES)
    ]


def _from_compbench(_folder, split, per_category, seed, categories, parser) -> list[dict]:
    if split != "val":
        raise StageError(
            f"`prompts.split` is {split!r}, but must be val, since `prompts.source` is compbench, which holds the val "
            "prompts alone; for others, set `prompts.source` to folder."
        )
    return _from_folder(compbench.FOLDER, split, per_category, seed, categories, parser)


def _from_folder(folder, split, per_category, _seed, categories, parser) -> list[dict]:
    categories = categories or [
        category
        for category in compbench.CATEGORIES
        if category in CATEGORIES or _file(Path(folder), category, split).exists()
    ]
    return [row for c in categories for row in _read_category(Path(folder), c, split, per_category, parser)]


def _read_category(folder: Path, category: str, split: str, per_category: int, parser: str) -> list[dict]:
    path = _file(folder, category, split)
    lines = _lines(path)
    if len(lines) < per_category:
        raise StageError(
            f"`prompts.per_category` is {per_category}, but {path} holds {len(lines)} prompts; lower it or add prompts."
        )
    unseen_path = _file(folder, category, f"{split}_unseen")
    unseen = set(_lines(unseen_path)) if unseen_path.exists() else set()
    lines = lines[:per_category]
    parses = parse_prompts(lines, category, parser)
    return [_row(line, category, line in unseen, parse) for line, parse in zip(lines, parses, strict=True)]


def _file(folder: Path, category: str, split: str) -> Path:
    return folder / f"{category}_{split}.txt"


def _lines(path: Path) -> list[str]:
    """The file's prompts; the benchmark's files end lines in CRLF or LF, and some lack the last."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StageError(
            f"The prompt file {path} does not exist; `prompts.folder` must hold <category>_<split>.txt files as the "
            "benchmark has them."
        ) from None
    return [line.strip() for line in text.splitlines() if line.strip()]


_SOURCES: dict[str, Callable[..., list[dict]]] = {
    "world": _from_world,
    "compbench": _from_compbench,
    "folder": _from_folder,
}
