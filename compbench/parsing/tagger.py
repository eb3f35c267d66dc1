"""spaCy with its model en_core_web_sm, where both are installed here."""

from collections.abc import Sequence

from compbench.errors import CompbenchError
from compbench.parsing.tagged import Tagged


def tag(texts: Sequence[str]) -> list[Tagged]:
    """What the installed tagger says of each text.

    Raises: CompbenchError where spaCy or its model is absent.
    """
    try:
        import spacy

        from compbench.parsing.make_parses import MODEL, parses

        nlp = spacy.load(MODEL)
    except (ImportError, OSError):
        raise CompbenchError(
            "The parser spacy needs spaCy and its model en_core_web_sm, which are not installed here: run `make "
            "parse`, which brings the benchmark's own, and name the file that it writes as the parser.",
            "parser",
        ) from None
    lists = ("tokens", "pos", "noun_chunks")
    return [Tagged(**fields | {name: tuple(fields[name]) for name in lists}) for fields in parses(nlp, texts)]
