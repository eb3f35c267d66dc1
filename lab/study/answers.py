"""Files of answers, as the page saves them, turned from sides to arms."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.study.page import CRITERIA
from lab.study.pairs import SIDES

TIE = "tie"


@dataclass(frozen=True)
class Answer:
    """What one rater chose in one pair by one criterion: an arm's name, or None for no difference."""

    rater: str
    prompt_index: int
    criterion: str
    choice: str | None


def read_answers(files: Sequence[Path], key: Mapping) -> list[Answer]:
    """The answers of all files; of a rater who saved more than once, those of the file named last.

    Args:
        key: the study's `key.json`, which knows the arm on each side.

    Raises:
        LabError: a file is not one of answers, or one of another study.
    """
    raters: dict[str, list[Answer]] = {}
    for file in files:
        saved = _read(file, key)
        raters[saved["rater"]] = [
            Answer(saved["rater"], pair["prompt_index"], criterion, None if side == TIE else pair[side])
            for pair, given in zip(key["pairs"], saved["answers"], strict=True)
            for criterion, side in given.items()
        ]
    return [answer for answers in raters.values() for answer in answers]


def _read(file: Path, key: Mapping) -> dict:
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not JSON"
        raise LabError(f"{file} cannot be read as answers ({reason}): take the file that the page saved.") from None
    if isinstance(saved, dict) and saved.get("study") != key["study"] and "study" in saved:
        raise LabError(f"{file} answers the study {saved['study']}, not {key['study']}: name the other study's folder.")
    if not _is_complete(saved, len(key["pairs"])):
        raise LabError(f"{file} is not a file of answers, or was changed: take the file that the page saved.")
    return saved


def _is_complete(saved: object, pairs: int) -> bool:
    if not isinstance(saved, dict) or not isinstance(saved.get("rater"), str):
        return False
    answers = saved.get("answers")
    if "study" not in saved or not isinstance(answers, list) or len(answers) != pairs:
        return False
    return all(isinstance(given, dict) and set(given) == set(CRITERIA) and _sides(given.values()) for given in answers)


def _sides(values) -> bool:
    return all(value in (*SIDES, TIE) for value in values)
