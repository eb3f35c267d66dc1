"""Prompt sources: the built-in world, or a folder with the benchmark's own files."""

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from taca.errors import StageError
from taca.world.prompts import CATEGORIES, Prompt, world_prompts
from taca.world.vocabulary import RELATIONS

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

_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
_RELATED = re.compile(rf"^(?P<first>.+?)\s+(?P<relation>{'|'.join(RELATIONS)})\s+(?P<second>.+?)\.?$", re.IGNORECASE)


def load_prompts(
    source: str, folder: str | None, split: str, per_category: int, seed: int, categories: tuple[str, ...] = CATEGORIES
) -> list[dict]:
    """Prompts of every category as rows of `SCHEMA`, numbered in order.

    Args:
        source: "world", or "folder" for the benchmark's files in `folder`.
        per_category: how many prompts of each category; a folder gives the first ones of each file.

    Raises:
        StageError: a file or enough prompts are missing, or a prompt cannot be part of a file name.
    """
    prompts = _SOURCES[source](folder, split, per_category, seed, categories)
    for prompt in prompts:
        _check(prompt.prompt)
    parser = "world" if source == "world" else "rules"
    return [{"index": index, "split": split, **_row(prompt, parser)} for index, prompt in enumerate(prompts)]


def _row(prompt: Prompt, parser: str) -> dict:
    lists = {"phrases": list(prompt.phrases), "objects": list(prompt.objects), "counts": []}
    return {**vars(prompt), **lists, "clip_text": None, "subset": None, "parser": parser}


def _check(prompt: str) -> None:
    if "_" in prompt or "/" in prompt or len(prompt) > MAX_LENGTH:
        raise StageError(
            f"The prompt {prompt!r} cannot be part of an image's file name: remove `_` and `/` from it and keep it to "
            f"{MAX_LENGTH} characters."
        )


def _from_world(_folder, split, per_category, seed, categories) -> list[Prompt]:
    return [p for p in world_prompts(split, per_category, seed) if p.category in categories]


def _from_folder(folder, split, per_category, _seed, categories) -> list[Prompt]:
    return [p for category in categories for p in _read_category(Path(folder), category, split, per_category)]


def _read_category(folder: Path, category: str, split: str, per_category: int) -> list[Prompt]:
    path = folder / f"{category}_{split}.txt"
    lines = _lines(path)
    if len(lines) < per_category:
        raise StageError(
            f"`prompts.per_category` is {per_category}, but {path} holds {len(lines)} prompts; lower it or add prompts."
        )
    unseen_path = folder / f"{category}_{split}_unseen.txt"
    unseen = set(_lines(unseen_path)) if unseen_path.exists() else set()
    return [parse(line, category, line in unseen) for line in lines[:per_category]]


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


def parse(prompt: str, category: str, unseen: bool = False) -> Prompt:
    """The parse that simple rules find: noun phrases joined by "and", or two phrases around a relation.

    A prompt of another form keeps empty `phrases` and `objects`: it has no parse until a tagger gives it one.
    """
    related = _RELATED.match(prompt) if category in ("spatial", "complex") else None
    if related:
        phrases = tuple(_ARTICLE.sub("", related[side]) for side in ("first", "second"))
        return Prompt(prompt, category, phrases, _heads(phrases), related["relation"].lower(), 2, unseen)
    if category in ("color", "shape", "texture"):
        phrases = tuple(_ARTICLE.sub("", part) for part in prompt.rstrip(".").split(" and "))
        return Prompt(prompt, category, phrases, _heads(phrases), None, len(phrases), unseen)
    return Prompt(prompt, category, (), (), None, None, unseen)


def _heads(phrases: tuple[str, ...]) -> tuple[str, ...]:
    """The last word of each phrase: in English noun phrases without complements, their head."""
    return tuple(phrase.split()[-1] for phrase in phrases)


_SOURCES: dict[str, Callable[..., list[Prompt]]] = {"world": _from_world, "folder": _from_folder}
