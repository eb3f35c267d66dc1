"""Which level a box is read from, what is read there, and which scored boxes become detections."""

import plain_unidet as plain
import pytest
import torch

from compbench.scorers.unidet.detections import detections_of
from compbench.scorers.unidet.pooling import level_of, pool


@pytest.mark.parametrize(
    ("sides", "level"),
    [
        ((10, 10), 3),
        ((111.9, 111.9), 3),
        ((112, 112), 3),
        ((223.9, 223.9), 3),
        ((224, 224), 4),
        ((100, 500), 3),
        ((101, 500), 4),
        ((447.9, 447.9), 4),
        ((448, 448), 5),
        ((479, 479), 5),
        ((0, 50), 3),
    ],
)
def test_level_is_one_up_for_twice_the_side_and_stays_in_p3_to_p5(sides, level):
    """A side of 224 pixels belongs to p4; 100 x 500 has the area of 223.6 squared."""
    box = (7.0, 9.0, 7.0 + sides[0], 9.0 + sides[1])
    assert level_of(torch.tensor([box])).tolist() == [level] == [plain.level_of(box)]


def test_pooling_is_a_plain_mean_of_interpolations():
    """Boxes of every level, at the borders, narrow ones and one without an area."""
    features = [torch.randn(1, 4, 480 // stride, 480 // stride) for stride in (8, 16, 32)]
    boxes = [
        (3.3, 4.4, 90.1, 77.7),
        (0.0, 0.0, 479.0, 479.0),
        (100.0, 110.0, 390.0, 360.0),
        (470.0, 2.0, 479.0, 300.0),
        (470.5, 471.5, 479.0, 479.0),
        (20.0, 20.0, 21.0, 22.0),
        (30.0, 30.0, 30.0, 60.0),
    ]
    assert {plain.level_of(box) for box in boxes} == {3, 4, 5}
    expected = torch.stack([plain.pooled([level.double() for level in features], box) for box in boxes])
    indices, found = (torch.cat(parts) for parts in zip(*pool(features, torch.tensor(boxes)), strict=True))
    assert sorted(indices.tolist()) == list(range(len(boxes)))
    torch.testing.assert_close(found, expected[indices].float(), rtol=0, atol=1e-4)


def random_boxes(n: int) -> torch.Tensor:
    corners = torch.rand(n, 2) * 150
    return torch.cat([corners, corners + 20 + torch.rand(n, 2) * 80], dim=1)


@pytest.mark.parametrize("n", [40, 400])
def test_detections_are_those_of_plain_loops(n):
    """Classes of their own do not suppress each other; 400 boxes fill the limit of 300 detections."""
    boxes, scores = random_boxes(n), torch.randperm(6 * n).view(n, 6) / (6 * n)  # no two alike
    scores[scores < 0.5] *= 0.15
    expected = plain.best([tuple(box) for box in boxes.tolist()], scores.tolist())
    found = detections_of(boxes, scores)
    assert (len(expected) == 300) == (n == 400)
    assert found.classes.tolist() == [index for _, index, _ in expected]
    torch.testing.assert_close(found.scores, torch.tensor([score for score, _, _ in expected]))
    torch.testing.assert_close(found.boxes, torch.tensor([box for _, _, box in expected]))


def test_a_score_of_exactly_a_tenth_is_no_detection():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    threshold = torch.tensor(0.1)
    scores = torch.stack([threshold, threshold.nextafter(torch.tensor(1.0))])[:, None]
    assert detections_of(boxes, scores).boxes.tolist() == [[50, 50, 60, 60]]


def test_overlap_of_exactly_one_half_is_kept():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 5.0], [0.0, 0.0, 10.0, 5.1]])
    found = detections_of(boxes, torch.tensor([[0.9], [0.8], [0.7]]))
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])


def test_a_box_without_an_area_takes_a_place_and_is_dropped():
    """The limit of 300 comes first, as in the reference implementation."""
    grid = torch.arange(301) * 10.0
    boxes = torch.stack([grid, grid, grid + 5, grid + 5], dim=1)
    boxes[0, 2] = boxes[0, 0]
    scores = torch.linspace(0.9, 0.5, 301)[:, None]
    found = detections_of(boxes, scores)
    assert len(found.scores) == 299
    assert torch.equal(found.boxes, boxes[1:300])


def test_nothing_found_is_an_empty_list():
    found = detections_of(random_boxes(3), torch.full((3, 4), 0.05))
    assert [len(part) for part in found] == [0, 0, 0]
