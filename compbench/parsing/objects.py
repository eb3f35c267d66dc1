"""The two objects of a spatial relation, from tagged tokens, as the benchmark finds them (arXiv 2307.06350)."""

from compbench.errors import CompbenchError
from compbench.parsing.tagged import Tagged

# What a complex prompt's objects are looked for around; the relation itself is found elsewhere, in another list.
_AROUND = ("on top of", "on bottom of", "on the left", "on the right", "next to", "on side of", "near")


def first_and_last_noun(tagged: Tagged) -> tuple[str, str]:
    """The first and the last NOUN, as they are written; the same one twice where there is one.

    Raises: CompbenchError for a prompt without a noun.
    """
    nouns = [token for token, pos in zip(tagged.tokens, tagged.pos, strict=True) if pos == "NOUN"]
    if not nouns:
        raise CompbenchError(
            f"The prompt {tagged.text!r} has no noun in the parse of {tagged.parser}, so no objects to look for; a "
            "spatial prompt must name two: reword it."
        )
    return nouns[0], nouns[-1]


def objects_around_relations(tagged: Tagged) -> tuple[str, ...]:
    """The two objects of a complex prompt; none unless the scan over all relations finds exactly two nouns."""
    found = []
    for start in range(len(tagged.tokens)):
        end = _relation_end(tagged.tokens, start)
        if end is not None:
            found += _noun_before(tagged, start) + _noun_after(tagged, end)
    return tuple(found) if len(found) == 2 else ()


def _relation_end(tokens: tuple[str, ...], start: int) -> int | None:
    """Where a relation that begins at `start` ends; slices are cut at the prompt's end, but `end` is not."""
    for length in (3, 2, 1):
        if " ".join(tokens[start : start + length]) in _AROUND:
            return start + length
    return None


def _noun_before(tagged: Tagged, start: int) -> list[str]:
    nearest_first = range(start - 1, -1, -1)
    return [tagged.tokens[i] for i in nearest_first if tagged.pos[i] in ("NOUN", "PROPN")][:1]


def _noun_after(tagged: Tagged, end: int) -> list[str]:
    """The first NOUN; without one, the last word of the first name, unless that word ends the prompt."""
    nouns = [tagged.tokens[i] for i in range(end, len(tagged.tokens)) if tagged.pos[i] == "NOUN"]
    names = [
        tagged.tokens[i]
        for i in range(end, len(tagged.tokens) - 1)
        if tagged.pos[i] == "PROPN" and tagged.pos[i + 1] != "PROPN"
    ]
    return (nouns or names)[:1]
