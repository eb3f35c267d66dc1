"""The benchmark's 2D-spatial score, for any detector."""

from PIL import Image

from taca.errors import StageError
from taca.scoring.detection import Detector, LabelledBox, best
from taca.scoring.geometry import position_score
from taca.scoring.interface import Prompt

CUT_OFF = 0.5  # a lower score becomes 0: without the right position, finding both objects earns nothing


def spatial_score(detections: list[LabelledBox], objects: tuple[str, ...], relation: str | None) -> float:
    """0.25 for each object's confidence and 0.5 for the position, in [0, 1]; below one half it is 0."""
    first, second = (best(detections, label) for label in objects)
    score = sum(0.25 * found.confidence for found in (first, second) if found is not None)
    if first is not None and second is not None:
        score += 0.5 * position_score(first.box, second.box, relation)
    return score if score >= CUT_OFF else 0.0


class SpatialScorer:
    """Where the two objects of a prompt stand, by a detector's boxes."""

    name = "spatial"

    def __init__(self, detector: Detector):
        self.detector = detector

    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> list[float]:
        """Raises: StageError when a prompt does not name two objects."""
        for prompt in prompts:
            if len(prompt.objects) != 2:
                raise StageError(
                    f'The spatial score compares two objects, but prompt {prompt.index} ("{prompt.prompt}") names '
                    f"{len(prompt.objects)}: correct its `objects` in the prompts table, or leave the prompt out."
                )
        return [
            spatial_score(detections, prompt.objects, prompt.relation)
            for detections, prompt in zip(self.detector.detect(images), prompts, strict=True)
        ]
