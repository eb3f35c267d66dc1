"""From names to scorers: what each category is measured by. A model is loaded once, and only if a category needs it."""

from collections.abc import Callable, Iterable
from functools import cached_property

from taca.errors import StageError
from taca.scoring.choice import Choice
from taca.scoring.interface import SCORE_METRICS, Measure, Scorer
from taca.scoring.spatial import SpatialScorer
from taca.scoring.three_in_one import PARTS, three_in_one
from taca.scoring.world import WorldAttributeScorer, WorldDetector


def build_measures(categories: Iterable[str], choice: Choice) -> dict[str, Measure]:
    """What each of `categories` is measured by.

    Raises: StageError for a category or a scorer that does not exist, or weights that are missing.
    """
    asked = {category: questions(category) for category in categories}
    models = Models(choice)
    scorers = {
        question: _scorer(question, models)
        for question in dict.fromkeys(question for names in asked.values() for question in names)
    }
    quality = tuple(models.quality(metric) for metric in choice.quality) if asked else ()
    return {
        category: Measure(
            tuple(scorers[question] for question in names) + quality,
            combine=("complex", three_in_one) if names == PARTS else None,
        )
        for category, names in asked.items()
    }


def questions(category: str) -> tuple[str, ...]:
    """The metrics that answer for a category.

    Raises: StageError for a category that does not exist.
    """
    if category not in SCORE_METRICS:
        raise StageError(f"No score answers the category {category!r}; categories are {', '.join(SCORE_METRICS)}.")
    return PARTS if category == "complex" else (SCORE_METRICS[category],)


class Models:
    """The models of a scoring run. Detectors are one object each, so that scorers share what they find."""

    def __init__(self, choice: Choice):
        self.choice = choice

    @cached_property
    def world(self) -> WorldDetector:
        return WorldDetector()

    def unidet(self, variant: str):
        from taca.scoring.unidet.detector import UniDetDetector

        choice = self.choice
        return UniDetDetector.from_weights(choice.weights, variant, choice.mode, choice.device, choice.dtype)

    @cached_property
    def rs200(self):
        """For the plane."""
        return self.unidet("rs200")

    @cached_property
    def r50(self):
        """For depth and counts."""
        return self.unidet("r50")

    def blip_vqa(self) -> Scorer:
        from taca.scoring.blip.scorer import BlipVqaScorer

        # The benchmark computes it in single precision everywhere.
        return BlipVqaScorer.from_weights(self.choice.weights, self.choice.mode, self.choice.device)

    def clip(self) -> Scorer:
        from taca.scoring.clip import ClipScorer

        return ClipScorer.from_weights(self.choice.weights, self.choice.device, self.choice.clip_dtype)

    def base_clip(self) -> Scorer:
        from taca.scoring.clip import ClipScorer

        return ClipScorer.from_folder(self.choice.base / "clip", self.choice.device)

    def plane(self) -> Scorer:
        labels = frozenset(self.rs200.labels)
        return SpatialScorer(self.rs200, self.choice.mode, labels)

    def space(self) -> Scorer:
        from taca.scoring.depth.model import DepthModel
        from taca.scoring.spatial_3d import Spatial3dScorer

        choice = self.choice
        depth = DepthModel.from_weights(choice.weights, choice.device, choice.dtype)
        return Spatial3dScorer(self.r50, depth, choice.mode)

    def numeracy(self) -> Scorer:
        from taca.scoring.numeracy import NumeracyScorer

        return NumeracyScorer(self.r50, self.choice.mode)

    def quality(self, metric: str) -> Scorer:
        from taca.scoring.quality import ImageQualityScorer

        return ImageQualityScorer.from_weights(self.choice.weights, metric, self.choice.device)


# By question: the name of the choice that it is answered by, and who may be chosen.
_SCORERS: dict[str, tuple[str, dict[str, Callable[[Models], Scorer]]]] = {
    "attribute": ("attribute", {"detector": lambda m: WorldAttributeScorer(m.world), "blip-vqa": Models.blip_vqa}),
    "spatial": ("spatial", {"detector": lambda m: SpatialScorer(m.world, m.choice.mode), "unidet": Models.plane}),
    "spatial_3d": ("spatial", {"unidet": Models.space}),
    "numeracy": ("spatial", {"unidet": Models.numeracy}),
    "clip": ("clip", {"base": Models.base_clip, "openai": Models.clip}),
}


def _scorer(question: str, models: Models) -> Scorer:
    field, known = _SCORERS[question]
    name = getattr(models.choice, field)
    if name not in known:
        raise StageError(f"`score.{field}` is {name!r}, but {question} must be answered by one of: {', '.join(known)}.")
    return known[name](models)
