"""The prompts and their parse, which every image and score rests on."""

from compbench.scorers.interface import Prompt, prompt_of
from lab.params import Params
from lab.preflight.ahead import Ahead
from lab.preflight.findings import Findings


def check_prompts(params: Params, ahead: Ahead, found: Findings) -> list[Prompt]:
    """The prompts as the stages will have them; none where they are not needed or cannot be read.

    Where the installed tagger parses them, which takes its time, they come with a simple parse.
    """
    from compbench.parsing import RULES, SPACY
    from compbench.parsing.tagger import tag
    from lab.prompts import prompts_of

    settings = params.prompts
    if not ahead.runs("prompts", "generate", "score"):
        return []
    with found.of("prompts"):
        if settings.parser == SPACY:
            tag([])  # loads the tagger, if it is here
        rows = prompts_of(settings, RULES if settings.parser == SPACY else None)
        return [prompt_of(row) for row in rows]
    return []
