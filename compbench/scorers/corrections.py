"""What corrected mode changes in the benchmark (Huang et al., 2023, arXiv 2307.06350), and which prompts it reaches.

Also which prompts can never score, in either mode, so that their zeros are no surprise.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial

from compbench.scorers.blip.questions import POSITIONS, SLOTS
from compbench.scorers.geometry import UNSCORED
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.numeracy import RENAMED
from compbench.scorers.three_in_one import parts_of
from compbench.scorers.vocabulary import as_person, stands_for


@dataclass(frozen=True)
class Correction:
    """One error of the benchmark that corrected mode mends, in one category.

    `name` is "<category>: <what>". `affects` says whether a prompt of the category is scored by other rules for it;
    what its score becomes depends on the image.
    """

    name: str
    category: str
    what_it_changes: str
    affects: Callable[[Prompt], bool]


def corrections(labels: Collection[str]) -> list[Correction]:
    """All corrections. `labels` are the detector's (`unidet.labels.read_labels`)."""
    known = frozenset(labels)
    return [
        Correction(f"{category}: {what}", category, text, partial(_reaches, affects, known))
        for what, categories, text, affects in _CORRECTIONS
        for category in categories
    ]


def shares(prompts: Iterable[Prompt], labels: Collection[str]) -> dict[str, float]:
    """By correction, the share of its category's prompts that it reaches, in [0, 1]; only categories of `prompts`."""
    by_category: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_category.setdefault(prompt.category, []).append(prompt)
    return {
        one.name: sum(map(one.affects, by_category[one.category])) / len(by_category[one.category])
        for one in corrections(labels)
        if one.category in by_category
    }


def never_scores(prompt: Prompt, labels: Collection[str], mode: Mode = Mode.OFFICIAL) -> str | None:
    """Why the detector's score of a prompt is 0 in a mode whatever the image; None where it need not be.

    Of complex prompts it is one term of the 3-in-1 score, so only those whose score has it are asked. Two detections
    with a confidence of exactly 1 would be an exception to some of the reasons: they earn a half without a position.
    """
    if prompt.category in ("3d_spatial", "numeracy"):
        return _never_anywhere(prompt, labels, mode)
    if prompt.category in ("spatial", "complex") and _has_spatial_term(prompt):
        return _never_in_plane(prompt, labels, mode)
    return None


def _never_in_plane(prompt: Prompt, labels: Collection[str], mode: Mode) -> str | None:
    missing = [noun for noun in dict.fromkeys(prompt.objects) if not _labels_of(prompt, noun, labels, mode)]
    if not prompt.objects:
        return "its parse has no two objects"
    if missing:
        return _without_label(prompt, missing, mode)
    if prompt.relation is None:
        return "its parse has no relation"
    if mode is Mode.CORRECTED:
        return None
    if prompt.relation == UNSCORED:
        return f'the benchmark has no rule for "{UNSCORED}"'
    if _one_detection_for_both(prompt) and prompt.relation.startswith("on the "):
        return f'one detection of "{as_person(prompt.objects[0])}" stands for both objects, and is on no side of itself'
    return None


def _never_anywhere(prompt: Prompt, labels: Collection[str], mode: Mode) -> str | None:
    if any(_labels_of(prompt, noun, labels, mode) for noun in prompt.objects):
        return None
    return _without_label(prompt, dict.fromkeys(prompt.objects), mode)


def _without_label(prompt: Prompt, nouns: Iterable[str], mode: Mode) -> str:
    official = "contains" if prompt.category in ("3d_spatial", "numeracy") else "is"
    return f"no label of the detector {official if mode is Mode.OFFICIAL else 'means'} {_quoted(nouns)}"


def _labels_of(prompt: Prompt, noun: str, labels: Collection[str], mode: Mode) -> set[str]:
    """The labels that a mode takes for a noun."""
    if mode is Mode.CORRECTED:
        return _named(noun, labels)
    if prompt.category in ("3d_spatial", "numeracy"):
        return _containing(prompt, noun, labels)
    return {as_person(noun)}.intersection(labels)


def _quoted(nouns: Iterable[str]) -> str:
    return " or ".join(f'"{noun}"' for noun in nouns)


def _reaches(affects: Callable[[Prompt, Collection[str]], bool], labels: frozenset[str], prompt: Prompt) -> bool:
    return affects(prompt, labels)


def _asked(prompt: Prompt) -> int:
    """How many questions a prompt has without the benchmark's limit."""
    return sum(phrase not in POSITIONS for phrase in prompt.phrases)


def _has_spatial_term(prompt: Prompt, _labels: Collection[str] = ()) -> bool:
    return prompt.category == "spatial" or "spatial" in parts_of(prompt)


def _has_clip_term(prompt: Prompt, _labels: Collection[str]) -> bool:
    return prompt.category == "non_spatial" or "clip" in parts_of(prompt)


def _one_detection_for_both(prompt: Prompt) -> bool:
    return len(prompt.objects) == 2 and len({as_person(noun) for noun in prompt.objects}) == 1


def _other_names(prompt: Prompt, labels: Collection[str]) -> bool:
    """Whether the labels that an object may have in 2D are others when corrected."""
    return _has_spatial_term(prompt) and any(
        {as_person(noun)}.intersection(labels) != _named(noun, labels) for noun in prompt.objects
    )


def _other_parts(prompt: Prompt, labels: Collection[str]) -> bool:
    """The same in 3D and for numbers."""
    return any(_containing(prompt, noun, labels) != _named(noun, labels) for noun in prompt.objects)


def _named(noun: str, labels: Collection[str]) -> set[str]:
    """The labels that corrected mode takes for a noun."""
    return {label for label in labels if stands_for(label, noun)}


def _containing(prompt: Prompt, noun: str, labels: Collection[str]) -> set[str]:
    """The labels that official mode takes for a noun in 3D and for numbers."""
    name = RENAMED.get(noun, noun) if prompt.category == "numeracy" else as_person(noun)
    return {label for label in labels if name in label}


_ATTRIBUTE = ("color", "shape", "texture", "complex")
_PLANE = ("spatial", "complex")
_DEPTH = ("3d_spatial",)

# What, in which categories, in words, and whether a prompt of those is affected, given the labels.
_CORRECTIONS = (
    (
        "more than eight phrases",
        _ATTRIBUTE,
        "every noun phrase is asked for; the benchmark drops those after the eighth",
        lambda prompt, _labels: _asked(prompt) > SLOTS,
    ),
    (
        "no phrases",
        _ATTRIBUTE,
        "a prompt without noun phrases is an error; the benchmark scores it 1 whatever the image",
        lambda prompt, _labels: _asked(prompt) == 0,
    ),
    (
        "no rounding",
        _ATTRIBUTE,
        "probabilities and their product are kept whole; the benchmark rounds both to four decimals",
        lambda prompt, _labels: _asked(prompt) > 0,
    ),
    (
        "RGB for RS200",
        _PLANE,
        "the detector sees RGB, as it was trained to; the benchmark gives it BGR",
        _has_spatial_term,
    ),
    (
        "names of labels",
        _PLANE,
        "an object matches each name in a label, singular or plural, and listed synonyms; the benchmark compares it "
        "with the whole label",
        _other_names,
    ),
    (
        "two things for two objects",
        _PLANE,
        "two objects are two detections; in the benchmark one person stands for both a girl and a man",
        lambda prompt, _labels: _has_spatial_term(prompt) and _one_detection_for_both(prompt),
    ),
    (
        "on top of",
        _PLANE,
        '"on top of" is scored as "on the top of"; the benchmark has no rule for it and gives 0',
        lambda prompt, _labels: _has_spatial_term(prompt) and prompt.relation == UNSCORED,
    ),
    (
        "axes of the depth map",
        _DEPTH,
        "the depth map is read where the box is; the benchmark exchanges its axes",
        lambda _prompt, _labels: True,
    ),
    (
        "overlap in depth",
        _DEPTH,
        "the right order in depth is enough; the benchmark also wants boxes that overlap",
        lambda _prompt, _labels: True,
    ),
    (
        "choice of detections",
        _DEPTH,
        "the most confident two things count; the benchmark takes, of the object that it meets first, the last one "
        "before the other's first",
        lambda _prompt, _labels: True,
    ),
    (
        "parts of words",
        (*_DEPTH, "numeracy"),
        "whole names and listed synonyms are compared; to the benchmark cattle hold a cat, and a laptop is no computer",
        _other_parts,
    ),
    (
        "television",
        ("numeracy",),
        'the label "tv" counts for a television; the benchmark misspells that word and does not look for it',
        lambda prompt, _labels: "television" in prompt.objects,
    ),
    (
        "half precision",
        ("non_spatial", "complex"),
        "cosines are computed in float32; on a GPU the benchmark rounds them to float16, in steps of 1/4096",
        _has_clip_term,
    ),
)
