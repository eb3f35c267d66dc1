"""The objects to count in a numeracy prompt, as the benchmark reads them from its tokens (arXiv 2307.06350)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from compbench.errors import CompbenchError
from compbench.val_prompts import read_lines

_ARTICLES = ("a", "an")
_NUMBERS = {word: i + 1 for i, word in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight"])}
_SINGLE = (*_ARTICLES, "one")


@dataclass(frozen=True)
class Nouns:
    """The nouns that are counted. A word can be both: one fish, two fish."""

    singulars: frozenset[str]
    singular_of: Mapping[str, str]

    def __contains__(self, noun: str) -> bool:
        return noun in self.singulars or noun in self.singular_of


@cache
def benchmark_nouns() -> Nouns:
    """The benchmark's 88 nouns with their plurals."""
    pairs = [line.lower().split(" - ") for line in read_lines("new_objects.txt")]
    return Nouns(frozenset(singular for singular, _ in pairs), {plural: singular for singular, plural in pairs})


def count_objects(prompt: str, tokens: Sequence[str], nouns: Nouns) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The singular of each object and how many of it; a noun of two words goes before one of its first word.

    Words are compared as they are written, so a capital "Two" counts nothing.

    Raises: CompbenchError where number and noun disagree ("two cat", "a cats"), or nothing is counted.
    """
    found = []
    for i, number in enumerate(tokens):
        if number not in _NUMBERS and number not in _ARTICLES:
            continue
        pair, word = " ".join(tokens[i + 1 : i + 3]), " ".join(tokens[i + 1 : i + 2])
        if pair != word and pair in nouns:
            found.append(_counted_pair(number, pair, nouns))
        elif word in nouns:
            found.append(_counted_word(prompt, number, word, nouns))
    if not found:
        raise CompbenchError(
            f"The prompt {prompt!r} counts nothing that the benchmark knows: a numeracy prompt must hold a number from "
            "one to eight, or a or an, before a noun of its list."
        )
    objects, counts = zip(*found, strict=True)
    return objects, counts


def _counted_pair(number: str, pair: str, nouns: Nouns) -> tuple[str, int]:
    if pair in nouns.singular_of and number not in _SINGLE:
        return nouns.singular_of[pair], _NUMBERS[number]
    return pair, 1


def _counted_word(prompt: str, number: str, word: str, nouns: Nouns) -> tuple[str, int]:
    if word in nouns.singulars and number in _SINGLE:
        return word, 1
    if word not in nouns.singular_of or number in _ARTICLES:
        raise CompbenchError(
            f'The prompt {prompt!r} holds "{number} {word}", but number and noun must agree for the objects to be '
            "counted: correct the prompt."
        )
    return nouns.singular_of[word], _NUMBERS[number]
