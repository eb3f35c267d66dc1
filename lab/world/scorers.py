"""Scorers of the built-in world: they answer from the pixels alone, by `lab.world.detector`."""

from math import nextafter, prod
from pathlib import Path

from PIL import Image

from compbench.scorers.build import Brought
from compbench.scorers.clip import ClipScorer
from compbench.scorers.detection import LabelledBox
from compbench.scorers.geometry import to_frame
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.spatial import SpatialScorer
from lab.errors import LabError
from lab.world.detector import Detection, detect
from lab.world.vocabulary import COLORS, SHAPES, TEXTURES

_VOCABULARY = {"shape": SHAPES, "color": tuple(COLORS), "texture": TEXTURES}
# The benchmark's cut-off at one half takes it for granted that no detector is ever quite certain: two objects found
# with confidence 1 in the wrong places would keep their two quarters.
_ALMOST_CERTAIN = nextafter(1.0, 0.0)
_FIELDS = {word: field for field, words in _VOCABULARY.items() for word in words}


class WorldDetector:
    """The world's detector. It remembers its last batch, so that the scorers of one category share one look."""

    def __init__(self):
        self._images: list[Image.Image] | None = None
        self._found: list[list[Detection]] = []

    def objects(self, images: list[Image.Image]) -> list[list[Detection]]:
        """The drawn objects of each image, highest confidence first; boxes in pixels of the image."""
        if images is not self._images:
            self._images, self._found = images, [detect(image) for image in images]
        return self._found

    def detect(self, images: list[Image.Image]) -> list[list[LabelledBox]]:
        """The same objects as labelled boxes in the benchmark's frame; a label is a shape."""
        return [
            [_labelled(item, image.size) for item in found]
            for image, found in zip(images, self.objects(images), strict=True)
        ]


def _labelled(item: Detection, size: tuple[int, int]) -> LabelledBox:
    return LabelledBox(item.shape, to_frame(item.box, *size), min(item.confidence, _ALMOST_CERTAIN))


def attributes_of(phrase: str) -> dict[str, str]:
    """{"texture": "striped", "shape": "circle"} for "striped circle".

    Raises: LabError for a word that the world does not know.
    """
    unknown = [word for word in phrase.split() if word not in _FIELDS]
    if unknown:
        raise LabError(
            f'The built-in detector does not know "{unknown[0]}" in the phrase "{phrase}": it answers for '
            f"{', '.join([*COLORS, *TEXTURES, *SHAPES])}; choose another scorer for such prompts."
        )
    return {_FIELDS[word]: word for word in phrase.split()}


class WorldAttributeScorer:
    """Whether every object of the prompt is there with the attributes that the prompt gives it.

    As the benchmark multiplies the answers to one question a noun phrase, so does this: each phrase is answered by the
    best confidence among the detections that have all attributes named in it, 0 if there is none.
    """

    name = "attribute"

    def __init__(self, detector: WorldDetector):
        self.detector = detector

    def score(self, images: list[Image.Image], prompts: list[Prompt]) -> list[float]:
        """Raises: LabError for a prompt without phrases, or with words that the world does not know."""
        wanted = [_wanted(prompt) for prompt in prompts]
        return [
            prod(_best_confidence(found, attributes) for attributes in phrases)
            for found, phrases in zip(self.detector.objects(images), wanted, strict=True)
        ]


def _wanted(prompt: Prompt) -> list[dict[str, str]]:
    if not prompt.phrases:
        raise LabError(
            f'Prompt {prompt.index} ("{prompt.prompt}") names no object to ask for: fill in its `phrases` in the '
            "prompts table, or leave the prompt out."
        )
    return [attributes_of(phrase) for phrase in prompt.phrases]


def _best_confidence(found: list[Detection], attributes: dict[str, str]) -> float:
    return max(
        (item.confidence for item in found if all(getattr(item, field) == word for field, word in attributes.items())),
        default=0.0,
    )


def world_scorers(base: Path, mode: Mode, device: str) -> Brought:
    """The built-in scorers by question and name: the detector, and the CLIP model that the base was made with.

    Args:
        base: the pipeline's folder.
    """
    detector = WorldDetector()
    return {
        ("attribute", "detector"): lambda: WorldAttributeScorer(detector),
        ("spatial", "detector"): lambda: SpatialScorer(detector, mode),
        ("clip", "base"): lambda: ClipScorer.from_folder(base / "clip", device),
    }
