"""The benchmark's numeracy score: whether each kind of object is there, and as often as the prompt says.

As T2I-CompBench++ (Huang et al., 2025, arXiv 2307.06350) does it: of each of the n objects, half of 1/n is for being
there at all and half for the right number. How certain the detector is does not count.
"""

from dataclasses import replace

from PIL import Image

from compbench.errors import CompbenchError
from compbench.scorers.detection import Detector, LabelledBox
from compbench.scorers.geometry import one_thing
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.vocabulary import PERSON, PERSONS, stands_for

COVERED = 0.9  # two boxes with one label that overlap by more are one thing

# What the benchmark looks for in place of a word. With "television" misspelt, the label "tv" is never looked for.
RENAMED = {
    **dict.fromkeys(PERSONS, PERSON),
    "ship": "boat",
    "telivision": "tv",
    "goldfish": "fish",
    "painting": "picture",
}


def numeracy_score(
    detections: list[LabelledBox], objects: tuple[str, ...], counts: tuple[int, ...], mode: Mode = Mode.OFFICIAL
) -> float:
    """The share, in [0, 1], of objects that are there (half) in the right number (half).

    Args:
        detections: highest confidence first.
        objects, counts: what the prompt asks for, in the singular, and how many of each; at least one.
    """
    found = _found_official if mode is Mode.OFFICIAL else _found_corrected
    score = 0.0
    for number, count in zip(found(detections, objects), counts, strict=True):
        # Two sums, as in the benchmark: one of their total would be rounded otherwise.
        score += 0.5 / len(objects) * (number > 0)
        score += 0.5 / len(objects) * (number == count)
    return score


class NumeracyScorer:
    """Whether the objects of a prompt are there in the right numbers, by a detector's boxes."""

    name = "numeracy"

    def __init__(self, detector: Detector, mode: Mode = Mode.OFFICIAL):
        self.detector, self.mode = detector, mode

    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> list[float]:
        """Raises: CompbenchError for a prompt without objects, or with other than one count for each."""
        for prompt in prompts:
            if not prompt.objects or len(prompt.objects) != len(prompt.counts):
                raise CompbenchError(
                    f"The numeracy score needs objects and a count for each, but prompt {prompt.index} "
                    f'("{prompt.prompt}") has {len(prompt.objects)} objects and {len(prompt.counts)} counts: correct '
                    "`objects` and `counts` in the prompts table, or leave the prompt out."
                )
        return [
            numeracy_score(detections, prompt.objects, prompt.counts, self.mode)
            for detections, prompt in zip(self.detector.detect(images), prompts, strict=True)
        ]


def deduplicate(detections: list[LabelledBox]) -> list[LabelledBox]:
    """The detections without those that a more confident one with the same label covers, or that cover it."""
    kept: list[LabelledBox] = []
    for found in detections:
        if not any(found.label == other.label and one_thing(found.box, other.box, COVERED) for other in kept):
            kept.append(found)
    return kept


def _found_official(detections: list[LabelledBox], objects: tuple[str, ...]) -> list[int]:
    """How many of each object. Where no label is the object's name, all that contain it become it, for good."""
    labels = [found.label for found in deduplicate(detections)]
    numbers = []
    for noun in objects:
        name = RENAMED.get(noun, noun)
        if name not in labels:
            labels = [name if name in label else label for label in labels]
        numbers.append(labels.count(name))
    return numbers


def _found_corrected(detections: list[LabelledBox], objects: tuple[str, ...]) -> list[int]:
    """How many of each object: a thing that was found under two of its names is one thing."""
    return [
        len(deduplicate([replace(found, label=noun) for found in detections if stands_for(found.label, noun)]))
        for noun in objects
    ]
