"""The 3D rule against one written plainly from the benchmark's description, and its corrected form."""

import math
import random
import warnings

import numpy as np
import pytest

from compbench.errors import CompbenchError
from compbench.scorers.detection import LabelledBox
from compbench.scorers.finite import NotFiniteError
from compbench.scorers.interface import Prompt
from compbench.scorers.mode import Mode
from compbench.scorers.spatial_3d import (
    Spatial3dScorer,
    depth_position_score,
    mean_depth,
    spatial_3d_score,
    substring_pair,
)

RELATIONS = ("in front of", "behind", "hidden", None)
LABELS = ["cat", "cattle, cow", "car", "carrot", "person", "personal care", "dog", "hot dog"]
NOUNS = ["cat", "car", "dog", "girl", "person", "cow", "wallet"]
HEIGHT, WIDTH = 30, 48


def random_detections(rng: random.Random) -> list[LabelledBox]:
    """Highest confidence first, in a wide frame: the right part has no row in the transposed map. Many overlap."""
    found = []
    for _ in range(rng.randrange(12)):
        x, y = rng.choice([0, 3, 6, 30]), rng.choice([0, 3, 6, 9])
        box = (x, y, x + rng.choice([0.5, 12, 15, 18]), y + rng.choice([6, 12, 18]))
        found.append(LabelledBox(rng.choice(LABELS), tuple(map(float, box)), rng.choice([0.2, 0.5, 0.85, 1.0])))
    return sorted(found, key=lambda one: -one.confidence)


def plain_score(detections, objects, relation, depth) -> float:
    obj1, obj2 = ("person" if noun in ("girl", "boy", "man", "woman") else noun for noun in objects)
    labels = [one.label for one in detections]
    text = " ".join(labels)
    p1 = p2 = None
    if obj1 in text and obj2 in text:
        for i, label in enumerate(labels):
            if obj1 in label:
                p1 = i
            if obj2 in label:
                p2 = i
            if p1 is not None and p2 is not None:
                break
        first, second = detections[p1], detections[p2]
        position = plain_position(first.box, second.box, relation, depth)
        return 0.25 * first.confidence + 0.25 * second.confidence + 0.5 * position
    for noun in (obj1, obj2):
        for i, label in enumerate(labels):
            if noun in label:
                return 0.25 * detections[i].confidence
    return 0


def plain_position(box1, box2, relation, depth) -> float:
    means = []
    for x_min, y_min, x_max, y_max in (box1, box2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            means.append(np.mean(depth[int(x_min) : int(x_max), int(y_min) : int(y_max)]))
    d = means[0] - means[1]
    inter_width = max(0, min(box1[2], box2[2]) - max(box1[0], box2[0]))
    inter_height = max(0, min(box1[3], box2[3]) - max(box1[1], box2[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (box1, box2)]
    iou = inter_width * inter_height / (areas[0] + areas[1] - inter_width * inter_height)
    if relation == "in front of":
        ordered = d > 0
    elif relation in ("behind", "hidden"):
        ordered = d < 0
    else:
        ordered = False
    if ordered and iou > 0.5:
        return 1
    if ordered and 0 < iou < 0.5:
        return iou / 0.5
    return 0


@pytest.mark.long
def test_official_rule_is_exactly_the_plain_one():
    """On twenty thousand random images; the position counts in many of them."""
    rng, depths = random.Random(0), np.random.default_rng(0).integers(0, 256, (50, HEIGHT, WIDTH)) / 255
    positions = empty = 0
    for _ in range(20_000):
        detections, objects = random_detections(rng), (rng.choice(NOUNS), rng.choice(NOUNS))
        relation, depth = rng.choice(RELATIONS), depths[rng.randrange(50)]
        expected = plain_score(detections, objects, relation, depth)
        assert spatial_3d_score(detections, objects, relation, depth) == expected
        positions += expected > plain_score(detections, objects, None, depth)
        empty += any(math.isnan(mean_depth(depth, one.box, Mode.OFFICIAL)) for one in detections)
    assert positions > 400
    assert empty > 500


def test_the_object_met_first_ends_at_its_last_hit_before_the_others_first():
    """cat, dog: of the cats before the first dog the last one counts, and that dog; "hot dog" is a dog here."""
    labels = ["cat", "cattle, cow", "cat", "hot dog", "cat", "dog"]
    detections = [LabelledBox(label, (i, 0.0, i + 1.0, 1.0), 0.9) for i, label in enumerate(labels)]
    assert [detections.index(one) for one in substring_pair(detections, ("cat", "dog"))] == [2, 3]
    assert [detections.index(one) for one in substring_pair(detections, ("dog", "cat"))] == [3, 2]
    assert [detections.index(one) for one in substring_pair(detections, ("cat", "cow"))] == [1, 1]
    assert substring_pair(detections, ("cat", "bird")) == (detections[0], None)
    assert substring_pair(detections, ("wallet", "bird")) == (None, None)


# Nearer from left to right, and the same from top to bottom: exchanged axes see no difference along a row of boxes.
SLOPE = np.tile(np.linspace(0, 1, 100), (100, 1))
LEFT, RIGHT = (10.0, 40.0, 30.0, 60.0), (60.0, 40.0, 80.0, 60.0)


def test_axes_are_exchanged_in_official_mode_alone():
    assert mean_depth(SLOPE, LEFT, Mode.OFFICIAL) == mean_depth(SLOPE, RIGHT, Mode.OFFICIAL)
    assert mean_depth(SLOPE, LEFT, Mode.CORRECTED) == pytest.approx(SLOPE[0, 10:30].mean())
    assert mean_depth(SLOPE.T, LEFT, Mode.OFFICIAL) == pytest.approx(SLOPE[0, 10:30].mean())


def test_a_box_of_no_whole_pixel_is_nan_in_official_mode_alone():
    thin = (10.2, 40.0, 10.8, 60.0)
    assert math.isnan(mean_depth(SLOPE, thin, Mode.OFFICIAL))
    assert mean_depth(SLOPE, thin, Mode.CORRECTED) == SLOPE[0, 10]
    assert depth_position_score(thin, RIGHT, "behind", SLOPE) == 0.0


@pytest.mark.parametrize(
    ("relation", "right_order"), [("in front of", (RIGHT, LEFT)), ("behind", (LEFT, RIGHT)), ("hidden", (LEFT, RIGHT))]
)
def test_corrected_order_in_depth_is_enough(relation, right_order):
    """The boxes do not overlap."""
    assert depth_position_score(*right_order, relation, SLOPE, Mode.CORRECTED) == 1.0
    assert depth_position_score(*right_order[::-1], relation, SLOPE, Mode.CORRECTED) == 0.0
    assert depth_position_score(*right_order, relation, SLOPE.T) == 0.0


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0, 0.0), (10, 1.0), (20, 0.0), (30, 2 / 3), (60, 0.0)],
    ids=["same depth", "IoU 5/7", "IoU 1/2", "IoU 1/3", "IoU 0"],
)
def test_official_position_at_the_boundaries(shift, expected):
    """Boxes 60 wide shifted by `shift`: IoU (60 - shift) / (60 + shift); exactly one half earns nothing."""
    first, second = (0.0, 0.0, 60.0, 10.0), (float(shift), 0.0, 60.0 + shift, 10.0)
    depth = np.tile(np.linspace(0, 1, 120)[:, None], (1, 120))
    assert depth_position_score(first, second, "behind", depth) == pytest.approx(expected)
    assert depth_position_score(first, second, "in front of", depth) == 0.0


def test_a_cat_is_no_cattle_in_corrected_mode():
    detections = [LabelledBox("cattle, cow", RIGHT, 0.8), LabelledBox("dog", LEFT, 0.8)]
    assert spatial_3d_score(detections, ("cat", "dog"), "in front of", SLOPE.T) == pytest.approx(0.4)
    assert spatial_3d_score(detections, ("cat", "dog"), "in front of", SLOPE, Mode.CORRECTED) == pytest.approx(0.2)
    assert spatial_3d_score(detections, ("cow", "dog"), "in front of", SLOPE, Mode.CORRECTED) == pytest.approx(0.9)


class Found:
    def __init__(self, detections):
        self.detections = detections

    def detect(self, images):
        return [self.detections for _ in images]


class Known:
    """A depth model that knows one map, and fails at one position."""

    def __init__(self, fails_at=None):
        self.fails_at = fails_at

    def depth(self, images):
        if self.fails_at is not None:
            raise NotFiniteError("depth map", self.fails_at)
        return [SLOPE for _ in images]


PROMPTS = [
    Prompt(4, "a cat in front of a dog", "3d_spatial", (), ("cat", "dog"), "in front of"),
    Prompt(5, "a dog hidden by a cat", "3d_spatial", (), ("dog", "cat"), "hidden"),
]
DETECTOR = Found([LabelledBox("cat", RIGHT, 0.8), LabelledBox("dog", LEFT, 0.8)])


def test_scorer_asks_each_prompt_of_its_image():
    assert Spatial3dScorer(DETECTOR, Known(), Mode.CORRECTED).score([None] * 2, PROMPTS) == pytest.approx([0.9, 0.9])
    assert Spatial3dScorer(DETECTOR, Known()).score([None] * 2, PROMPTS) == pytest.approx([0.4, 0.4])


def test_an_image_without_depth_is_named_with_its_prompt():
    with pytest.raises(CompbenchError, match=r'map of image 2 of 2, of prompt 5 \("a dog hidden by a cat"\), is NaN'):
        Spatial3dScorer(DETECTOR, Known(1)).score([None] * 2, PROMPTS)


def test_a_prompt_without_two_objects_is_refused():
    with pytest.raises(CompbenchError, match="names 1"):
        Spatial3dScorer(DETECTOR, Known()).score([None], [Prompt(0, "a cat hidden", "3d_spatial", (), ("cat",))])
