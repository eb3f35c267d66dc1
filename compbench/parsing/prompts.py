"""Prompts to parses, by whichever parser is asked for."""

from collections.abc import Sequence
from pathlib import Path

from compbench.parsing import simple
from compbench.parsing.files import find_parses
from compbench.parsing.official import RULES
from compbench.parsing.parse import Parse
from compbench.parsing.rules import parse_tagged
from compbench.parsing.tagger import tag

SPACY = "spacy"


def parse_prompts(prompts: Sequence[str], category: str, parser: str) -> list[Parse]:
    """The parses of prompts of one category.

    Args:
        parser: "rules" for simple rules, "spacy" for the tagger that is installed here, or the path of a parses file.

    Raises: CompbenchError naming a prompt that has no parse; a parser, model or file that is missing.
    """
    if parser == RULES:
        return [simple.parse(prompt, category) for prompt in prompts]
    tagged = tag(prompts) if parser == SPACY else find_parses(Path(parser), prompts)
    return [parse_tagged(one, category) for one in tagged]
