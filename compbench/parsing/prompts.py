"""Prompts to parses, by whichever parser is asked for."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from compbench.parsing import simple
from compbench.parsing.files import find_parses, read_parses
from compbench.parsing.official import NONE, RULES, SHIPPED
from compbench.parsing.parse import Parse
from compbench.parsing.rules import parse_tagged
from compbench.parsing.tagger import tag
from compbench.val_prompts import PARSES

SPACY = "spacy"
# CLIP is asked with the whole prompt, and counting needs its words alone.
WITHOUT_TAGGER = ("non_spatial", "numeracy")


def parse_prompts(prompts: Sequence[str], category: str, parser: str) -> list[Parse]:
    """The parses of prompts of one category.

    Args:
        parser: "rules" for simple rules, "spacy" for the tagger that is installed here, "spacy-3.6" for the parses of
            the benchmark's prompts that come with this package, or the path of a parses file. Categories whose scorers
            ask nothing that a tagger says need no tagger installed, and of a file no parse.

    Raises: CompbenchError naming a prompt that has no parse; a parser, model or file that is missing.
    """
    if parser == RULES:
        return [simple.parse(prompt, category) for prompt in prompts]
    file = PARSES if parser == SHIPPED else Path(parser)
    if category in WITHOUT_TAGGER:
        known = {} if parser == SPACY else read_parses(file)
        return [
            parse_tagged(known[prompt], category)
            if prompt in known
            else replace(simple.parse(prompt, category), parser=NONE)
            for prompt in prompts
        ]
    tagged = tag(prompts) if parser == SPACY else find_parses(file, prompts)
    return [parse_tagged(one, category) for one in tagged]
