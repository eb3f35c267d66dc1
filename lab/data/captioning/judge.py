"""Which answers are captions."""

import re

from compbench.text import is_blank
from lab.data.captioning.question import Answer

REFUSAL, EMPTY, CUT_OFF = "refusal", "empty", "cut off"
FAULTS = (REFUSAL, EMPTY, CUT_OFF)
# How models begin when they decline; a caption that quotes such words does not begin so.
_DECLINED = re.compile(
    r"\W*((i['’]?m|i am) (very |really |so )?(sorry|unable|not able|afraid)|(my )?apolog|(i )?apologi[sz]e|"
    r"sorry\b|unfortunately,? i\b|"
    r"i (cannot|can['’]?t|can not|won['’]?t|will not|could not|couldn['’]?t|do not|don['’]?t) "
    r"(\w+ )?(assist|help|describe|provide|see|view|fulfil|comply|process|identify|create|generate|analy[sz]e|answer|"
    r"comment|discuss|have)|as an? (ai|artificial|language|large)\b)",
    re.IGNORECASE,
)


def fault_of(answer: Answer) -> str | None:
    """Why an answer is no caption, one of `FAULTS`; None for a caption."""
    if answer.ended == "refusal" or _DECLINED.match(answer.text):
        return REFUSAL
    if is_blank(answer.text):
        return EMPTY
    return CUT_OFF if answer.ended == "length" else None
