"""From names to scorers: what each category is measured by. A model is loaded once, and only if a category needs it."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import MappingProxyType

from compbench.errors import CompbenchError
from compbench.scorers.choice import Choice
from compbench.scorers.interface import SCORE_METRICS, Measure, Scorer
from compbench.scorers.spatial import SpatialScorer
from compbench.scorers.three_in_one import PARTS, three_in_one

# Scorers that the caller of `build_measures` brings, by question and the name that chooses them.
Brought = Mapping[tuple[str, str], Callable[[], Scorer]]


def build_measures(
    categories: Iterable[str], choice: Choice, brought: Brought = MappingProxyType({})
) -> dict[str, Measure]:
    """What each of `categories` is measured by.

    Args:
        brought: scorers besides the benchmark's own; each is made once, if it is chosen and a category needs it.

    Raises: CompbenchError for a category or a scorer that does not exist, or weights that are missing.
    """
    asked = {category: questions(category) for category in categories}
    models = Models(choice)
    scorers = {
        question: _scorer(question, models, brought)
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

    Raises: CompbenchError for a category that does not exist.
    """
    if category not in SCORE_METRICS:
        raise CompbenchError(f"There is no metric for {category!r}; categories are {', '.join(SCORE_METRICS)}.")
    return PARTS if category == "complex" else (SCORE_METRICS[category],)


class Models:
    """The models of a scoring run. Detectors are one object each, so that scorers share what they find."""

    def __init__(self, choice: Choice):
        self.choice = choice

    def unidet(self, variant: str):
        from compbench.scorers.unidet.detector import UniDetDetector

        choice = self.choice
        return UniDetDetector.from_weights(
            choice.weights, variant, choice.mode, choice.device, choice.dtype, choice.extra_tensors
        )

    @cached_property
    def rs200(self):
        """For the plane."""
        return self.unidet("rs200")

    @cached_property
    def r50(self):
        """For depth and counts."""
        return self.unidet("r50")

    def blip_vqa(self) -> Scorer:
        from compbench.scorers.blip.scorer import BlipVqaScorer

        # The benchmark computes it in single precision everywhere.
        choice = self.choice
        return BlipVqaScorer.from_weights(
            choice.weights, choice.mode, choice.device, extra_tensors=choice.extra_tensors
        )

    def clip(self) -> Scorer:
        from compbench.scorers.clip import ClipScorer

        return ClipScorer.from_weights(self.choice.weights, self.choice.device, self.choice.clip_dtype)

    def plane(self) -> Scorer:
        labels = frozenset(self.rs200.labels)
        return SpatialScorer(self.rs200, self.choice.mode, labels)

    def space(self) -> Scorer:
        from compbench.scorers.depth.model import DepthModel
        from compbench.scorers.spatial_3d import Spatial3dScorer

        choice = self.choice
        depth = DepthModel.from_weights(choice.weights, choice.device, choice.dtype, choice.extra_tensors)
        return Spatial3dScorer(self.r50, depth, choice.mode)

    def numeracy(self) -> Scorer:
        from compbench.scorers.numeracy import NumeracyScorer

        return NumeracyScorer(self.r50, self.choice.mode)

    def quality(self, metric: str) -> Scorer:
        from compbench.scorers.quality import ImageQualityScorer

        return ImageQualityScorer.from_weights(self.choice.weights, metric, self.choice.device)


# By question: the name of the choice that it is answered by, and who may be chosen.
_SCORERS: dict[str, tuple[str, dict[str, Callable[[Models], Scorer]]]] = {
    "attribute": ("attribute", {"blip-vqa": Models.blip_vqa}),
    "spatial": ("spatial", {"unidet": Models.plane}),
    "spatial_3d": ("spatial", {"unidet": Models.space}),
    "numeracy": ("spatial", {"unidet": Models.numeracy}),
    "clip": ("clip", {"openai": Models.clip}),
}


def _scorer(question: str, models: Models, brought: Brought) -> Scorer:
    field, own = _SCORERS[question]
    name = getattr(models.choice, field)
    if (question, name) in brought:
        return brought[question, name]()
    if name not in own:
        known = [*own, *(other for asked, other in brought if asked == question)]
        raise CompbenchError(f"{name!r} is not a scorer of {question}: choose {' or '.join(known)} for {field}.", field)
    return own[name](models)
