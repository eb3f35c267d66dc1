"""The 2D rule against one written plainly from the benchmark's description, and its corrected form."""

import random

import pytest

from compbench.errors import CompbenchError
from compbench.scorers.detection import LabelledBox
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.spatial import SpatialScorer, spatial_score

RELATIONS = (
    "on side of",
    "next to",
    "near",
    "on the left of",
    "on the right of",
    "on the bottom of",
    "on the top of",
    "on top of",
    None,
)
LABELS = ["cat", "dog", "person", "cattle, cow", "table, desk", "desk"]
NOUNS = ["cat", "dog", "girl", "man", "person", "cow", "desk", "wallet"]


def random_detections(rng: random.Random) -> list[LabelledBox]:
    """Highest confidence first. On a coarse grid, so that equal distances and touching boxes happen."""
    found = []
    for _ in range(rng.randrange(16)):
        x, y, width, height = (50 * rng.randrange(1, 8) for _ in range(4))
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        found.append(LabelledBox(rng.choice(LABELS), box, rng.choice([0.2, 0.5, 0.85, 1.0])))
    return sorted(found, key=lambda one: -one.confidence)


def plain_score(detections: list[LabelledBox], objects: tuple[str, str], relation: str | None) -> float:
    """One step after the other, as the benchmark describes it."""
    boxes, confidences = [], []
    for noun in objects:
        if noun == "girl" or noun == "boy" or noun == "man" or noun == "woman":
            noun = "person"
        box, confidence = None, 0
        for one in detections:
            if one.label == noun:
                box, confidence = one.box, one.confidence
                break
        boxes.append(box)
        confidences.append(confidence)
    if boxes[0] is None and boxes[1] is None:
        return 0
    if boxes[0] is None:
        score = 0.25 * confidences[1]
    elif boxes[1] is None:
        score = 0.25 * confidences[0]
    else:
        score = 0.25 * confidences[0] + 0.25 * confidences[1] + 0.5 * plain_position(*boxes, relation)
    if score < 0.5:
        score = 0
    return score


def plain_position(box1, box2, relation) -> float:
    ax1, ay1, ax2, ay2 = box1
    bx1, by1, bx2, by2 = box2
    dx = (bx1 + bx2) / 2 - (ax1 + ax2) / 2
    dy = (by1 + by2) / 2 - (ay1 + ay2) / 2
    inter = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
    iou = inter / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inter)
    if relation in ("next to", "on side of", "near"):
        if abs(dx) < 150 or abs(dy) < 150:
            return 1
        return 150 / abs(dx) if abs(dx) > abs(dy) else 150 / abs(dy)
    right = relation == "on the right of" and dx < 0 and abs(dx) > abs(dy)
    left = relation == "on the left of" and dx > 0 and abs(dx) > abs(dy)
    bottom = relation == "on the bottom of" and dy < 0 and abs(dy) > abs(dx)
    top = relation == "on the top of" and dy > 0 and abs(dy) > abs(dx)
    if right or left or bottom or top:
        return 1 if iou < 0.1 else 0.1 / iou
    return 0


def test_official_rule_is_exactly_the_plain_one():
    """On ten thousand random images; enough of them score, and enough do not."""
    rng = random.Random(0)
    scored = 0
    for _ in range(10_000):
        detections, objects = random_detections(rng), (rng.choice(NOUNS), rng.choice(NOUNS))
        relation = rng.choice(RELATIONS)
        expected = plain_score(detections, objects, relation)
        assert spatial_score(detections, objects, relation) == expected
        scored += expected > 0
    assert 1000 < scored < 9000


def plain_corrected(detections, objects, relation, accepted) -> float:
    """Every pair of detections is tried; `accepted` says which labels each noun takes."""
    relation = "on the top of" if relation == "on top of" else relation
    best, score = -1.0, 0.0
    for a in detections:
        for b in detections:
            if a.label not in accepted[objects[0]] or b.label not in accepted[objects[1]]:
                continue
            width = max(0, min(a.box[2], b.box[2]) - max(a.box[0], b.box[0]))
            height = max(0, min(a.box[3], b.box[3]) - max(a.box[1], b.box[1]))
            area_a = (a.box[2] - a.box[0]) * (a.box[3] - a.box[1])
            area_b = (b.box[2] - b.box[0]) * (b.box[3] - b.box[1])
            if width * height / (area_a + area_b - width * height) > 0.9:
                continue
            certain = a.confidence + b.confidence
            whole = 0.25 * a.confidence + 0.25 * b.confidence + 0.5 * plain_position(a.box, b.box, relation)
            if certain > best or (certain == best and whole > score):
                best, score = certain, whole
    return score if score >= 0.5 else 0.0


def test_corrected_rule_takes_the_most_confident_two_things():
    people = {"person"}
    accepted = {"cat": {"cat"}, "dog": {"dog"}, "girl": people, "man": people, "person": people, "wallet": set()}
    accepted |= {"cow": {"cattle, cow"}, "desk": {"table, desk", "desk"}}
    rng = random.Random(1)
    scored = 0
    for _ in range(5_000):
        detections, objects = random_detections(rng), (rng.choice(NOUNS), rng.choice(NOUNS))
        relation = rng.choice(RELATIONS)
        expected = plain_corrected(detections, objects, relation, accepted)
        assert spatial_score(detections, objects, relation, Mode.CORRECTED) == expected
        scored += expected > 0
    assert 500 < scored < 4500


def at(label: str, x: float, y: float, confidence: float = 0.8, side: float = 40) -> LabelledBox:
    return LabelledBox(label, (x - side / 2, y - side / 2, x + side / 2, y + side / 2), confidence)


def test_on_top_of_scores_in_corrected_mode_alone():
    """0.25 * 0.8 + 0.25 * 0.8 + 0.5 = 0.9."""
    detections = [at("hat", 240, 100), at("cat", 240, 300)]
    assert spatial_score(detections, ("hat", "cat"), "on top of") == 0.0
    assert spatial_score(detections, ("hat", "cat"), "on top of", Mode.CORRECTED) == pytest.approx(0.9)
    assert spatial_score(detections[::-1], ("cat", "hat"), "on top of", Mode.CORRECTED) == 0.0


def test_a_cow_is_found_in_corrected_mode_alone():
    detections = [at("cattle, cow", 100, 240), at("dog", 300, 240)]
    assert spatial_score(detections, ("cow", "dog"), "on the left of") == 0.0
    assert spatial_score(detections, ("cow", "dog"), "on the left of", Mode.CORRECTED) == pytest.approx(0.9)


def test_one_person_stands_for_both_people_in_official_mode_alone():
    """One person in the image: next to herself in the benchmark; corrected, half of the prompt is missing."""
    alone, two = [at("person", 100, 240)], [at("person", 100, 240), at("person", 300, 240, 0.6)]
    assert spatial_score(alone, ("girl", "man"), "next to") == pytest.approx(0.9)
    assert spatial_score(alone, ("girl", "man"), "next to", Mode.CORRECTED) == 0.0
    assert spatial_score(two, ("girl", "man"), "on the right of") == 0.0
    assert spatial_score(two, ("girl", "man"), "on the right of", Mode.CORRECTED) == pytest.approx(0.85)


def test_one_thing_under_two_names_is_not_two_things():
    twice = [at("table, desk", 200, 240), at("desk", 201, 240, 0.7)]
    assert spatial_score(twice, ("table", "desk"), "next to", Mode.CORRECTED) == 0.0


class Found:
    """A detector that finds what it is told to."""

    def __init__(self, detections):
        self.detections = detections

    def detect(self, images):
        return [self.detections for _ in images]


def test_a_complex_prompt_without_objects_scores_0_with_known_labels():
    prompts = [
        Prompt(0, "a cat to the left of a dog", "complex"),
        Prompt(1, "a cat near a dog", "complex", (), ("cat", "dog"), "near"),
    ]
    detector = Found([at("cat", 100, 240), at("dog", 300, 240)])
    scorer = SpatialScorer(detector, known_labels=frozenset({"cat", "dog"}))
    assert scorer.score([None, None], prompts) == [0.0, pytest.approx(0.9)]
    with pytest.raises(CompbenchError, match="names 0"):
        SpatialScorer(detector).score([None, None], prompts)


@pytest.mark.parametrize(
    ("category", "objects"), [("spatial", ()), ("spatial", ("cat",)), ("complex", ("cat",)), ("complex", ("a",) * 3)]
)
def test_other_prompts_without_two_objects_are_refused(category, objects):
    scorer = SpatialScorer(Found([]), known_labels=frozenset({"cat"}))
    with pytest.raises(CompbenchError, match=f"names {len(objects)}"):
        scorer.score([None], [Prompt(0, "a cat", category, (), objects)])
