"""The benchmark's geometric rules, against values worked out by hand from its description."""

import pytest

from compbench.errors import CompbenchError
from compbench.scorers.detection import LabelledBox
from compbench.scorers.geometry import frame_size, intersection_over_union, position_score, to_frame
from compbench.scorers.interface import Prompt
from compbench.scorers.spatial import SpatialScorer, spatial_score


def box(x: float, y: float, side: float = 40) -> tuple[float, float, float, float]:
    """A square box around a centre."""
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


CENTRE = box(240, 240)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        *[((80, 80), (479, 479)), ((512, 512), (479, 479)), ((1344, 768), (480, 274)), ((768, 1344), (274, 480))],
        ((640, 427), (480, 320)),  # of 320.7: sides are cut off, not rounded
    ],
)
def test_frame_is_the_benchmarks_resize(size, expected):
    assert frame_size(*size) == expected


def test_boxes_of_any_image_size_meet_in_one_frame():
    """The same drawing at two sizes has the same boxes."""
    assert to_frame((10, 20, 30, 40), 80, 80) == pytest.approx(to_frame((128, 256, 384, 512), 1024, 1024))
    assert to_frame((0, 0, 1344, 768), 1344, 768) == pytest.approx((0, 0, 480, 274))


@pytest.mark.parametrize(
    ("relation", "subject", "wrong"),
    [
        ("on the left of", box(100, 240), box(380, 240)),
        ("on the right of", box(380, 240), box(100, 240)),
        ("on the top of", box(240, 100), box(240, 380)),
        ("on the bottom of", box(240, 380), box(240, 100)),
    ],
)
def test_directions_score_1_on_their_side_and_0_on_the_other(relation, subject, wrong):
    assert position_score(subject, CENTRE, relation) == 1.0
    assert position_score(wrong, CENTRE, relation) == 0.0


@pytest.mark.parametrize("relation", ["on the left of", "on the top of"])
def test_a_direction_needs_its_own_axis_to_dominate(relation):
    """Exactly on the diagonal neither axis dominates."""
    assert position_score(box(140, 140), CENTRE, relation) == 0.0
    assert position_score(box(140, 141), CENTRE, "on the left of") == 1.0
    assert position_score(box(141, 140), CENTRE, "on the left of") == 0.0


def test_overlap_beyond_the_threshold_lowers_a_direction():
    """Boxes of side 40 shifted by 20: intersection 800, union 2400, IoU 1/3, so 0.1 / (1/3) = 0.3."""
    assert intersection_over_union(box(220, 240), CENTRE) == pytest.approx(1 / 3)
    assert position_score(box(220, 240), CENTRE, "on the left of") == pytest.approx(0.3)


@pytest.mark.parametrize("relation", ["next to", "on side of", "near"])
def test_beside_is_1_within_150_pixels_on_either_axis_and_falls_with_distance(relation):
    assert position_score(box(389.5, 240), CENTRE, relation) == 1.0
    assert position_score(box(240 + 400, 240 + 149), CENTRE, relation) == 1.0, "one near axis is enough"
    assert position_score(box(240 + 150, 240 + 150), CENTRE, relation) == 1.0, "150 / 150"
    assert position_score(box(240 + 300, 240 - 200), CENTRE, relation) == pytest.approx(150 / 300)


@pytest.mark.parametrize("relation", ["on top of", "inside", None])
def test_a_relation_without_a_rule_scores_0(relation):
    assert position_score(box(240, 100), CENTRE, relation) == 0.0


LEFT, RIGHT = LabelledBox("circle", box(100, 240), 0.8), LabelledBox("star", box(380, 240), 0.6)


def test_score_adds_a_quarter_of_each_confidence_and_half_the_position():
    """0.25 * 0.8 + 0.25 * 0.6 + 0.5 * 1 = 0.85."""
    assert spatial_score([LEFT, RIGHT], ("circle", "star"), "on the left of") == pytest.approx(0.85)


def test_score_below_one_half_becomes_0():
    """Both found but on the wrong side: 0.35 before the rule; one found alone: 0.2."""
    assert spatial_score([LEFT, RIGHT], ("star", "circle"), "on the left of") == 0.0
    assert spatial_score([LEFT], ("circle", "star"), "on the left of") == 0.0
    assert spatial_score([], ("circle", "star"), "on the left of") == 0.0


def test_score_of_exactly_one_half_stands():
    """Two certain objects on the wrong side earn 0.25 + 0.25, which is not below one half."""
    certain = [LabelledBox("circle", LEFT.box, 1.0), LabelledBox("star", RIGHT.box, 1.0)]
    assert spatial_score(certain, ("star", "circle"), "on the left of") == 0.5


def test_the_most_confident_detection_of_a_label_counts():
    elsewhere = LabelledBox("circle", box(460, 240), 0.5)
    assert spatial_score([LEFT, RIGHT, elsewhere], ("circle", "star"), "on the left of") == pytest.approx(0.85)


def test_prompt_without_two_objects_is_refused():
    prompt = Prompt(3, "a circle on the left", "spatial", ("circle",), ("circle",), "on the left of")
    with pytest.raises(CompbenchError, match=r'prompt 3 \("a circle on the left"\) names 1'):
        SpatialScorer(None).score([None], [prompt])
