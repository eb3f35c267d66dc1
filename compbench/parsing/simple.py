"""A parse without a tagger: noun phrases joined by "and", two phrases around a relation, or counted nouns."""

import re

from compbench.parsing.numeracy import benchmark_nouns, count_objects
from compbench.parsing.official import RULES
from compbench.parsing.parse import Parse
from compbench.parsing.relations import RELATIONS
from compbench.parsing.subset import subset

_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
_TOKEN = re.compile(r"\w+|[^\w\s]")


def _related(relations: str) -> re.Pattern:
    return re.compile(rf"^(?P<first>.+?)\s+(?P<relation>{relations})\s+(?P<second>.+?)\.?$", re.IGNORECASE)


_RELATED_2D = _related("|".join(RELATIONS))
_RELATED = {"spatial": _RELATED_2D, "complex": _RELATED_2D, "3d_spatial": _related("in front of|behind|hidden(?= by)")}


def parse(prompt: str, category: str) -> Parse:
    """The parse that simple rules find.

    A prompt of another form keeps empty `phrases` and `objects`: it has no parse until a tagger gives it one.

    Raises: CompbenchError for a numeracy prompt that counts nothing.
    """
    part = subset(prompt) if category == "complex" else None
    related = _RELATED[category].match(prompt) if category in _RELATED else None
    if related:
        phrases = _phrases(related["first"], related["second"].removeprefix("by "))
        return Parse(RULES, phrases, _heads(phrases), related["relation"].lower(), 2, subset=part)
    if category in ("color", "shape", "texture"):
        phrases = _phrases(*prompt.rstrip(".").split(" and "))
        return Parse(RULES, phrases, _heads(phrases), None, len(phrases))
    if category == "numeracy":
        objects, counts = count_objects(prompt, _TOKEN.findall(prompt), benchmark_nouns())
        return Parse(RULES, objects=objects, counts=counts, count=sum(counts))
    return Parse(RULES, subset=part)


def _phrases(*parts: str) -> tuple[str, ...]:
    """Without their articles; a part of no words, such as what "a car and ." has after its "and", is none."""
    return tuple(_ARTICLE.sub("", part) for part in parts if part.strip())


def _heads(phrases: tuple[str, ...]) -> tuple[str, ...]:
    """The last word of each phrase: in English noun phrases without complements, their head."""
    return tuple(phrase.split()[-1] for phrase in phrases)
