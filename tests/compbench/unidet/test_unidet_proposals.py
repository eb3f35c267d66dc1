"""Anchors, box arithmetic, and what the proposal network keeps."""

import math

import plain_unidet as plain
import pytest
import torch
from random_unidet import randomised

from compbench.scorers.finite import NotFiniteError
from compbench.scorers.unidet.anchors import cell_anchors, grid_anchors
from compbench.scorers.unidet.boxes import clip, decode, not_empty
from compbench.scorers.unidet.rpn import ProposalGenerator


def test_anchors_are_those_of_plain_loops_in_their_order():
    shapes = [(5, 7), (3, 4), (2, 2), (1, 1), (1, 1)]
    for level, found in enumerate(grid_anchors(shapes, torch.device("cpu"))):
        expected = torch.tensor(plain.anchors(level, *shapes[level]))
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-4)


def test_anchors_are_not_rounded():
    """A square root of two is in the corners of the first: 32 / sqrt(0.5) / 2 = 22.627."""
    first = cell_anchors((32.0,))[0].tolist()
    assert first == pytest.approx([-22.6274, -11.3137, 22.6274, 11.3137], abs=1e-4)


def test_an_image_of_480_pixels_has_the_published_number_of_anchors():
    levels = grid_anchors([(60, 60), (30, 30), (15, 15), (8, 8), (4, 4)], torch.device("cpu"))
    assert [len(level) for level in levels] == [32400, 8100, 2025, 576, 144]


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), (30.0, 30.0, 15.0, 15.0)])
def test_decoding_is_the_plain_formula(weights):
    corners = torch.rand(50, 2) * 100
    boxes = torch.cat([corners, corners + torch.rand(50, 2) * 100], dim=1)
    deltas = torch.randn(50, 4) * 30
    expected = [plain.moved(tuple(b), d, weights) for b, d in zip(boxes.tolist(), deltas.tolist(), strict=True)]
    torch.testing.assert_close(decode(boxes, deltas, weights), torch.tensor(expected), rtol=1e-4, atol=1e-2)


def test_a_box_grows_62_and_a_half_times_at_most():
    box = decode(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.0, 0.0, 50.0, math.log(3)]]), (1, 1, 1, 1))
    assert box[0].tolist() == pytest.approx([1 - 62.5, 1 - 3, 1 + 62.5, 1 + 3])


def test_half_precision_deltas_are_decoded_in_single_precision():
    box = torch.tensor([[300.3, 300.3, 401.7, 401.7]])
    deltas = torch.zeros(1, 4, dtype=torch.float16)
    assert torch.equal(decode(box, deltas, (10, 10, 5, 5)), decode(box, deltas.float(), (1, 1, 1, 1)))


def test_clipping_is_to_the_image_before_padding():
    boxes = torch.tensor([[-5.0, -6.0, 500.0, 600.0], [90.0, 0.0, 95.0, 10.0]])
    clipped = clip(boxes, 70, 80)
    assert clipped.tolist() == [[0, 0, 80, 70], [80, 0, 80, 10]]
    assert not_empty(clipped).tolist() == [True, False]


@pytest.fixture(scope="module")
def generator() -> ProposalGenerator:
    return randomised(ProposalGenerator(8))


@pytest.fixture(scope="module")
def features() -> list[torch.Tensor]:
    """Of an image of 300 x 330 pixels, padded to 320 x 352; small features make small deltas, and so many survivors."""
    source = torch.Generator().manual_seed(2)
    return [torch.randn(1, 8, 320 // stride, 352 // stride, generator=source) for stride in (8, 16, 32)] + [
        torch.randn(1, 8, 5, 6, generator=source),
        torch.randn(1, 8, 3, 3, generator=source),
    ]


@pytest.mark.long
def test_both_limits_and_both_orders_are_those_of_plain_loops(generator, features):
    """There are 15840 anchors on the first level alone, and more than 1000 boxes survive."""
    expected = plain.proposals(
        [level.double() for level in features], plain.doubles(generator, "proposal_generator."), 300, 330
    )
    (found,) = generator(features, 300, 330)
    assert len(expected) == len(found) == 1000
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=0.01)


def test_boxes_of_different_levels_do_not_suppress_each_other():
    """In 64 x 64 pixels p4 to p7 each have anchors over the whole image; of each level one of those stays."""
    for tensor in (still := ProposalGenerator(8)).state_dict().values():
        tensor.zero_()
    (found,) = still([torch.zeros(1, 8, side, side) for side in (8, 4, 2, 1, 1)], 64, 64)
    assert found.eq(torch.tensor([0.0, 0.0, 64.0, 64.0])).all(1).sum() == 4


def test_numbers_that_are_none_are_noticed(generator, features):
    broken = [level.clone() for level in features]
    broken[3][0, 0, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="proposals of image 0"):
        generator(broken, 300, 330)
