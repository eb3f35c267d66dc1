"""The numeracy rule against one written plainly from the benchmark's description, and its corrected form."""

import random

import pytest

from compbench.errors import CompbenchError
from compbench.scorers.detection import LabelledBox
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.numeracy import NumeracyScorer, deduplicate, numeracy_score

LABELS = ["cat", "cattle, cow", "person", "tv", "television", "picture, frame", "boat", "sailboat", "fish", "goldfish"]
NOUNS = ["cat", "cow", "girl", "person", "television", "telivision", "painting", "boat", "ship", "fish", "goldfish"]


def random_detections(rng: random.Random) -> list[LabelledBox]:
    """Few places and sizes, so that boxes nearly coincide and contain each other."""
    found = []
    for _ in range(rng.randrange(10)):
        x, y = rng.choice([0, 1, 40]), rng.choice([0, 2])
        width, height = rng.choice([20, 21, 60]), rng.choice([30, 31])
        found.append(LabelledBox(rng.choice(LABELS), (x, y, x + width, y + height), rng.random()))
    return sorted(found, key=lambda one: -one.confidence)


def plain_score(detections, objects, counts) -> float:
    kept = []
    for one in detections:
        x1, y1, x2, y2 = one.box
        area_a = (x2 - x1 + 1) * (y2 - y1 + 1)
        drop = False
        for other in kept:
            if other.label != one.label:
                continue
            u1, v1, u2, v2 = other.box
            area_b = (u2 - u1 + 1) * (v2 - v1 + 1)
            inter = max(0, min(x2, u2) - max(x1, u1) + 1) * max(0, min(y2, v2) - max(y1, v1) + 1)
            if inter / (area_a + area_b - inter) > 0.9 or inter / area_a > 0.9 or inter / area_b > 0.9:
                drop = True
        if not drop:
            kept.append(one)
    labels = [one.label for one in kept]
    score, weight = 0, 1 / len(objects)
    for noun, count in zip(objects, counts, strict=True):
        if noun in ("boy", "girl", "man", "woman"):
            noun = "person"
        if noun == "ship":
            noun = "boat"
        if noun == "telivision":
            noun = "tv"
        if noun == "goldfish":
            noun = "fish"
        if noun == "painting":
            noun = "picture"
        if noun not in labels:
            for i in range(len(labels)):
                if noun in labels[i]:
                    labels[i] = noun
        if noun in labels:
            score += 0.5 * weight
            if labels.count(noun) == count:
                score += 0.5 * weight
    return score


def test_official_rule_is_the_plain_one():
    """On ten thousand random images, to the last bit."""
    rng = random.Random(0)
    whole = 0
    for _ in range(10_000):
        objects = tuple(rng.choices(NOUNS, k=rng.randrange(1, 6)))
        counts = tuple(rng.choices([1, 2, 3], k=len(objects)))
        detections = random_detections(rng)
        expected = plain_score(detections, objects, counts)
        assert numeracy_score(detections, objects, counts) == expected
        whole += expected == 1
    assert whole > 100


def at(label: str, x: float, width: float = 20) -> LabelledBox:
    return LabelledBox(label, (x, 0.0, x + width, 30.0), 0.5)


def test_half_of_each_share_is_for_being_there_and_half_for_the_number():
    found = [at("cat", 0), at("cat", 40), at("dog", 80)]
    assert numeracy_score(found, ("cat",), (2,)) == 1.0
    assert numeracy_score(found, ("cat",), (3,)) == 0.5
    assert numeracy_score(found, ("cat", "dog"), (2, 2)) == 0.75
    assert numeracy_score(found, ("bird", "dog"), (1, 1)) == 0.5
    assert numeracy_score([], ("cat",), (1,)) == 0.0


def test_renaming_by_substring_stays_for_later_objects():
    """Once "cattle, cow" has become a cat, there is no cow left, and so none that the cow's share could find."""
    found = [at("cattle, cow", 0)]
    assert numeracy_score(found, ("cow", "cat"), (1, 1)) == 0.5
    assert numeracy_score(found, ("cat", "cow"), (1, 1)) == 0.5
    assert numeracy_score([at("cat", 0), *found], ("cat", "cow"), (1, 1)) == 1.0, "the cat needs no renaming"


def test_television_is_not_looked_for_as_tv_in_official_mode_alone():
    found = [at("tv", 0), at("tv", 40)]
    assert numeracy_score(found, ("television",), (2,)) == 0.0
    assert numeracy_score(found, ("television",), (2,), Mode.CORRECTED) == 1.0


def test_corrected_counts_whole_names_and_each_thing_once():
    """A cat is no cattle; one person found as a girl and as a person is one."""
    assert numeracy_score([at("cattle, cow", 0)], ("cat",), (1,), Mode.CORRECTED) == 0.0
    assert numeracy_score([at("cattle, cow", 0)], ("cat",), (1,)) == 1.0
    twice = [at("person", 0), at("girl", 0.5), at("girl", 60)]
    assert numeracy_score(twice, ("girl",), (2,), Mode.CORRECTED) == 1.0
    assert numeracy_score(twice, ("girl",), (2,)) == 0.5
    assert numeracy_score([at("mouse1", 0), at("mouse2, mouse", 40)], ("mouse",), (2,), Mode.CORRECTED) == 1.0


def test_boxes_cover_each_other_with_their_last_pixels():
    """A box from 0 to 20 is 21 pixels wide, which makes the difference in the last case."""
    assert len(deduplicate([at("cat", 0, 100), at("cat", 10, 20)])) == 1, "covered whole"
    assert len(deduplicate([at("cat", 0, 100), at("dog", 10, 20)])) == 2, "another label"
    assert len(deduplicate([at("cat", 0, 19), at("cat", 2, 19)])) == 2, "18 of 20 pixels: 0.9 exactly"
    assert len(deduplicate([at("cat", 0, 20), at("cat", 2, 20)])) == 1, "19 of 21 pixels: 0.905; 18 of 20 were 0.9"


class Found:
    def detect(self, images):
        return [[at("cat", 0)] for _ in images]


def test_scorer_counts_for_each_prompt():
    prompts = [Prompt(i, "cats", "numeracy", (), ("cat",), counts=(i,)) for i in (1, 2)]
    assert NumeracyScorer(Found()).score([None] * 2, prompts) == [1.0, 0.5]


@pytest.mark.parametrize(("objects", "counts"), [((), ()), (("cat",), ()), (("cat",), (1, 2))])
def test_a_prompt_without_a_count_for_each_object_is_refused(objects, counts):
    prompt = Prompt(3, "some cats", "numeracy", (), objects, counts=counts)
    with pytest.raises(CompbenchError, match=rf'prompt 3 \("some cats"\) has {len(objects)} objects and {len(counts)}'):
        NumeracyScorer(Found()).score([None], [prompt])
