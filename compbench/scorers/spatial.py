"""The benchmark's 2D-spatial score, for any detector."""

from collections.abc import Callable

from PIL import Image

from compbench.errors import CompbenchError
from compbench.scorers.detection import Detector, LabelledBox, best
from compbench.scorers.geometry import corrected_relation, intersection_over_union, position_score
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.vocabulary import as_person, stands_for

CUT_OFF = 0.5  # a lower score becomes 0: without the right position, finding both objects earns nothing
SAME_THING = 0.9  # boxes that overlap more are one thing found twice; the benchmark's own figure where it counts

# The detections that stand for the two objects of a prompt; None where there is none.
Pair = tuple[LabelledBox | None, LabelledBox | None]


def exact_pair(detections: list[LabelledBox], objects: tuple[str, str]) -> Pair:
    """The most confident detection whose whole label is the object; one may stand for both, as in the benchmark."""
    return best(detections, as_person(objects[0])), best(detections, as_person(objects[1]))


def distinct_pairs(detections: list[LabelledBox], objects: tuple[str, str]) -> list[Pair]:
    """The most confident two detections that are two things, one for each object.

    There are two such pairs where both detections may be either object, such as two people.
    """
    first, second = ([found for found in detections if stands_for(found.label, noun)] for noun in objects)
    pairs = [(a, b) for a in first for b in second if intersection_over_union(a.box, b.box) <= SAME_THING]
    if not pairs:
        return [(first[0], None) if first else (None, second[0] if second else None)]
    most = max(a.confidence + b.confidence for a, b in pairs)
    return [(a, b) for a, b in pairs if a.confidence + b.confidence == most]


def pair_score(pair: Pair, position: Callable[[LabelledBox, LabelledBox], float]) -> float:
    """0.25 for each object's confidence and, when both are found, 0.5 for their position; in [0, 1]."""
    first, second = pair
    score = sum(0.25 * found.confidence for found in pair if found is not None)
    if first is not None and second is not None:
        score += 0.5 * position(first, second)
    return score


def spatial_score(
    detections: list[LabelledBox], objects: tuple[str, str], relation: str | None, mode: Mode = Mode.OFFICIAL
) -> float:
    """The score of the pair that stands for the objects, in [0, 1]; below one half it is 0."""
    if mode is Mode.OFFICIAL:
        pairs = [exact_pair(detections, objects)]
    else:
        pairs, relation = distinct_pairs(detections, objects), corrected_relation(relation)
    score = max(pair_score(pair, lambda a, b: position_score(a.box, b.box, relation)) for pair in pairs)
    return score if score >= CUT_OFF else 0.0


class SpatialScorer:
    """Where the two objects of a prompt stand, by a detector's boxes.

    Args:
        known_labels: the labels that the detector can give; None for the built-in world's, whose prompts use no other
            words. The benchmark scores a complex prompt without two objects 0, and so does this with a detector of
            known labels. Where there are none such a prompt has not been parsed yet, which is an error.
    """

    name = "spatial"

    def __init__(self, detector: Detector, mode: Mode = Mode.OFFICIAL, known_labels: frozenset[str] | None = None):
        self.detector, self.mode, self.known_labels = detector, mode, known_labels

    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> list[float]:
        """Raises: CompbenchError when a prompt does not name two objects, but for the complex ones of the benchmark."""
        for prompt in prompts:
            if not self._without_objects(prompt):
                check_two_objects(prompt)
        return [
            0.0
            if self._without_objects(prompt)
            else spatial_score(detections, prompt.objects, prompt.relation, self.mode)
            for detections, prompt in zip(self.detector.detect(images), prompts, strict=True)
        ]

    def _without_objects(self, prompt: Prompt) -> bool:
        return self.known_labels is not None and prompt.category == "complex" and not prompt.objects


def check_two_objects(prompt: Prompt) -> None:
    """Raises: CompbenchError when the prompt does not name two objects."""
    if len(prompt.objects) != 2:
        raise CompbenchError(
            f'The spatial score compares two objects, but prompt {prompt.index} ("{prompt.prompt}") names '
            f"{len(prompt.objects)}: correct its `objects` in the prompts table, or leave the prompt out."
        )
