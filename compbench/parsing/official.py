"""Who made a parse, and whether results that rest on it are the benchmark's."""

OFFICIAL_PARSER = "spacy 3.5.3 en_core_web_sm 3.5.0"
SHIPPED = "spacy-3.6"  # parses of the benchmark's prompts that come with this package: not by the benchmark's own pair
RULES = "rules"  # `simple`, without a tagger
NONE = "no tagger"  # of prompts whose scorer asks nothing that a tagger says
WORLD = "world"  # the built-in world knows the parse of the prompts that it makes


def is_official(parser: str) -> bool:
    """Whether `parser` is the tagger and model that the benchmark pins, or none was needed.

    Other versions tag some words otherwise.
    """
    return parser in (OFFICIAL_PARSER, NONE)


def describe_parser(parser: str) -> str:
    """What a result says of its parser: its name, and that it is not the official one where it is not.

    The world's own prompts have no official parse, so theirs is only named; where none was needed, that is said.
    """
    return parser if is_official(parser) or parser == WORLD else f"{parser}: not the official parser"
