"""From the names in the parameters to scorers: what each category is measured by."""

from collections.abc import Callable, Iterable
from pathlib import Path

from taca.errors import StageError
from taca.scoring.interface import SCORE_METRICS, Measure, Scorer
from taca.scoring.spatial import SpatialScorer
from taca.scoring.three_in_one import PARTS, three_in_one
from taca.scoring.world import WorldAttributeScorer, WorldDetector


def _base_clip(_detector: WorldDetector, base: Path) -> Scorer:
    from taca.scoring.clip import ClipScorer

    return ClipScorer.from_folder(base / "clip")


# Who can answer which question. The detector is one object, so that attribute and spatial share what it finds.
_SCORERS: dict[str, dict[str, Callable[[WorldDetector, Path], Scorer]]] = {
    "attribute": {"detector": lambda detector, _base: WorldAttributeScorer(detector)},
    "spatial": {"detector": lambda detector, _base: SpatialScorer(detector)},
    "clip": {"base": _base_clip},
}


def build_measures(
    categories: Iterable[str], *, attribute: str, spatial: str, clip: str, base: Path
) -> dict[str, Measure]:
    """What each of `categories` is measured by. A model is loaded once, and only if a category asks for it.

    Args:
        attribute, spatial: who answers; "detector" is the built-in world's.
        clip: "base" for the CLIP model that lies in the folder `base`.

    Raises: StageError for a category or a scorer that does not exist.
    """
    questions = {category: _questions(category) for category in categories}
    wanted = {"attribute": attribute, "spatial": spatial, "clip": clip}
    detector = WorldDetector()
    scorers = {
        question: _choose(question, wanted[question])(detector, base)
        for question in dict.fromkeys(question for asked in questions.values() for question in asked)
    }
    return {
        category: Measure(
            tuple(scorers[question] for question in asked),
            combine=("complex", three_in_one) if asked == PARTS else None,
        )
        for category, asked in questions.items()
    }


def _questions(category: str) -> tuple[str, ...]:
    if category not in SCORE_METRICS:
        raise StageError(f"No score answers the category {category!r}; categories are {', '.join(SCORE_METRICS)}.")
    return PARTS if category == "complex" else (SCORE_METRICS[category],)


def _choose(question: str, name: str):
    if name not in _SCORERS[question]:
        raise StageError(f"`score.{question}` is {name!r}, but must be one of: {', '.join(_SCORERS[question])}.")
    return _SCORERS[question][name]
