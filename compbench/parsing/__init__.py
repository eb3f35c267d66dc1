"""Prompts are parsed once, when they are read: what scorers ask of a prompt's words stands beside it from then on."""

from compbench.parsing.official import OFFICIAL_PARSER, RULES, SHIPPED, describe_parser, is_official
from compbench.parsing.parse import Parse
from compbench.parsing.prompts import SPACY, parse_prompts
from compbench.parsing.tagged import Tagged

__all__ = [
    "OFFICIAL_PARSER",
    "RULES",
    "SHIPPED",
    "SPACY",
    "Parse",
    "Tagged",
    "describe_parser",
    "is_official",
    "parse_prompts",
]
