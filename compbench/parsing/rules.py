"""From a tagger's words to a parse, by the rules of the benchmark's scorers (arXiv 2307.06350)."""

from dataclasses import replace

from compbench.parsing.numeracy import benchmark_nouns, count_objects
from compbench.parsing.objects import first_and_last_noun, objects_around_relations
from compbench.parsing.parse import Parse
from compbench.parsing.relations import RELATIONS_2D, RELATIONS_3D, first_relation
from compbench.parsing.subset import subset
from compbench.parsing.tagged import Tagged


def parse_tagged(tagged: Tagged, category: str) -> Parse:
    """The parse of a prompt of one of the benchmark's eight categories.

    `phrases` are all noun chunks as they stand in the prompt, with determiners; which of them to ask is the scorer's to
    say. `objects` are words of the prompt, a relation's without change, counted ones in the singular.

    Raises: CompbenchError for a spatial prompt without a noun, and a numeracy prompt that counts nothing.
    """
    parse = Parse(tagged.parser, phrases=tagged.noun_chunks)
    match category:
        case "spatial":
            relation = first_relation(tagged.text, RELATIONS_2D)
            return replace(parse, objects=first_and_last_noun(tagged), relation=relation, count=2)
        case "3d_spatial":
            relation = first_relation(tagged.text, RELATIONS_3D)
            return replace(parse, objects=first_and_last_noun(tagged), relation=relation, count=2)
        case "numeracy":
            objects, counts = count_objects(tagged.text, tagged.tokens, benchmark_nouns())
            return replace(parse, objects=objects, counts=counts, count=sum(counts))
        case "complex":
            return _complex(parse, tagged)
    return parse


def _complex(parse: Parse, tagged: Tagged) -> Parse:
    objects = objects_around_relations(tagged)
    return replace(
        parse,
        objects=objects,
        relation=first_relation(tagged.text, RELATIONS_2D),
        count=len(objects) or None,
        clip_text=without_adjectives(tagged),
        subset=subset(tagged.text),
    )


def without_adjectives(tagged: Tagged) -> str:
    """All tokens but adjectives, with single spaces between them, before a period too."""
    return " ".join(token for token, pos in zip(tagged.tokens, tagged.pos, strict=True) if pos != "ADJ")
