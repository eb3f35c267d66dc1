"""The questions of a prompt: one for each noun phrase, in one form for every attribute, as the benchmark asks them."""

from compbench.errors import CompbenchError
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode

SLOTS = 8  # the benchmark drops further phrases and says nothing
# Noun phrases to a parser, but no objects; the benchmark compares them exactly.
POSITIONS = ("top", "the side", "the left", "the right")
MAX_WORDS = 50
_DELETED = str.maketrans("", "", '.!"()*#:;~')


def questions_of(prompt: Prompt, mode: Mode) -> list[str]:
    """What is asked about an image of `prompt`, as the model reads it: "a green bench?" for "a green bench".

    In official mode at most eight, and none for a prompt without phrases.

    Raises: CompbenchError in corrected mode for a prompt without phrases.
    """
    phrases = [phrase for phrase in prompt.phrases if phrase not in POSITIONS]
    if mode is Mode.OFFICIAL:
        phrases = phrases[:SLOTS]
    elif not phrases:
        raise CompbenchError(
            f'Prompt {prompt.index} ("{prompt.prompt}") has no noun phrase to ask about: fill in its `phrases` in the '
            "prompts table, or leave the prompt out."
        )
    return [clean(f"{phrase}?") for phrase in phrases]


def clean(question: str) -> str:
    """As BLIP's questions were cleaned when it was trained; the question mark stays."""
    kept = question.lower().translate(_DELETED).rstrip(" ")
    return " ".join(kept.split(" ")[:MAX_WORDS])
