"""What a tagger says of one prompt."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tagged:
    """Tokens with their universal part of speech (`pos`, as long as `tokens`), and noun chunks as they stand in `text`.

    `parser` names the tagger: "spacy <version> en_core_web_sm <version>".
    """

    text: str
    tokens: tuple[str, ...]
    pos: tuple[str, ...]
    noun_chunks: tuple[str, ...]
    parser: str
