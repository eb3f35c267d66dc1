"""Prompt sources: the built-in world, the benchmark's own prompts, or a folder with files like the benchmark's."""

from collections.abc import Sequence
from pathlib import Path

from compbench.parsing import Parse
from compbench.parsing.official import RULES, WORLD
from compbench.prompts import numbered, prompt_row, read_benchmark, read_folder
from compbench.val_prompts import BEFORE
from lab.errors import LabError
from lab.world.prompts import world_prompts


def prompts_of(settings, parser: str | None = None) -> list[dict]:
    """The prompts of section `prompts`, as `load_prompts` gives and refuses them; by another parser if one is given."""
    return load_prompts(
        settings.source,
        settings.folder,
        settings.split,
        settings.per_category,
        settings.seed,
        parser=settings.parser if parser is None else parser,
        categories=settings.categories,
        edition=settings.edition,
    )


def load_prompts(
    source: str,
    folder: str | None,
    split: str,
    per_category: int,
    seed: int,
    parser: str = RULES,
    categories: Sequence[str] | None = None,
    edition: str = "current",
) -> list[dict]:
    """Prompts category by category as rows of `compbench.prompts.SCHEMA`.

    Args:
        source: "world"; "compbench" for the benchmark's prompts; "folder" for files like them in `folder`.
        split: "val" or "train"; from files also "train+val", one after the other.
        per_category: how many prompts of each category; files give their first ones.
        parser: who parses prompts from files; see `compbench.prompts.read_folder`.
        categories: all that the source has, unless given.
        edition: of the benchmark's prompts: "current", or "before-2025-09", when five of color were others.

    Raises:
        LabError: the world is asked for more prompts than it has, for a category that it has not, or with a parser.
        CompbenchError: files, parser or parses are missing, or a prompt cannot be part of a file name.
    """
    if source == "compbench":
        return read_benchmark(split, per_category, categories, parser, before=edition == BEFORE)
    if source == "folder":
        return read_folder(Path(folder), split, per_category, categories, parser)
    if parser != RULES:
        raise LabError(
            f"The parser is {parser!r}, but must be rules, since the world's prompts come with their parse; for "
            "another one, take prompts from compbench or a folder.",
            "parser",
        )
    rows = [
        prompt_row(p.prompt, p.category, split, p.unseen, Parse(WORLD, p.phrases, p.objects, p.relation, p.count))
        for p in world_prompts(split, per_category, seed)
    ]
    return numbered(rows if categories is None else _of(rows, categories))


def _of(rows: list[dict], categories: Sequence[str]) -> list[dict]:
    known = list(dict.fromkeys(row["category"] for row in rows))
    for category in categories:
        if category not in known:
            raise LabError(
                f"The categories have {category}, but the world's prompts are of {', '.join(known)} alone.",
                "categories",
            )
    return [row for row in rows if row["category"] in categories]
