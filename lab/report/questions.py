"""Questions about arms by name, fixed before any image is drawn: `experiments/contrasts.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.errors import LabError

CONTRASTS = Path("experiments/contrasts.yaml")


@dataclass(frozen=True)
class Question:
    """A contrast: arms with weights that sum to zero."""

    name: str
    weights: Mapping[str, float]
    primary: bool

    @property
    def arms(self) -> str:
        """The arms as a formula: 'taca − baseline'."""
        terms = []
        for arm, weight in self.weights.items():
            factor = "" if abs(weight) == 1 else f"{abs(weight):g} "
            terms += ["+" if weight > 0 else "−", f"{factor}{arm}"]
        return " ".join(terms).removeprefix("+ ")


def read_questions(path: Path = CONTRASTS) -> list[Question]:
    """The questions of a file, the primary one first.

    Raises:
        LabError: the file is no such file, or a contrast's weights do not sum to zero.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        primary, contrasts = found["primary"], found["contrasts"]
        weighed = {name: checked(f"The contrast {name!r} of {path}", weights) for name, weights in contrasts.items()}
    except (OSError, yaml.YAMLError, TypeError, ValueError, KeyError, AttributeError):
        raise LabError(f"{path} must have `primary`, a name, and `contrasts`, arms with weights by name.") from None
    if primary not in weighed:
        raise LabError(f"`primary` of {path} is {primary!r}, but must be one of its contrasts: {', '.join(contrasts)}.")
    questions = [Question(name, weights, name == primary) for name, weights in weighed.items()]
    return sorted(questions, key=lambda question: not question.primary)


def checked(what: str, weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of a contrast; `what` begins the message.

    Raises:
        LabError: they do not sum to zero.
    """
    numbers = {arm: float(weight) for arm, weight in weights.items()}
    if len(numbers) < 2 or abs(sum(numbers.values())) > 1e-9 or not all(numbers.values()):
        raise LabError(f"{what} weighs {dict(weights)}, but weights must sum to zero, none of them 0: correct them.")
    return numbers
