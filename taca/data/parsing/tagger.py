"""spaCy with its model en_core_web_sm, where both are installed here."""

from collections.abc import Sequence

from taca.data.parsing.tagged import Tagged
from taca.errors import StageError


def tag(texts: Sequence[str]) -> list[Tagged]:
    """What the installed tagger says of each text.

    Raises: StageError where spaCy or its model is absent.
    """
    try:
        import spacy

        from taca.data.parsing.make_parses import MODEL, parses

        nlp = spacy.load(MODEL)
    except (ImportError, OSError):
        raise StageError(
            "`prompts.parser` spacy needs spaCy and its model en_core_web_sm, which are not installed here: run `make "
            "parse`, which brings the benchmark's own, and name the file that it writes in `prompts.parser`."
        ) from None
    lists = ("tokens", "pos", "noun_chunks")
    return [Tagged(**fields | {name: tuple(fields[name]) for name in lists}) for fields in parses(nlp, texts)]
