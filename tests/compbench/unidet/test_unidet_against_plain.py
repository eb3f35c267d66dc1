"""The detector against the same written plainly: by loops, in float64, from the tensors' published names."""

import plain_unidet as plain
import pytest
import torch
from random_unidet import assert_same_detections

from compbench.scorers.unidet.detections import Detections


def image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Coarse blobs, so that features differ from place to place."""
    coarse = torch.rand(1, 3, 7, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].clamp(0, 1) * 255


@pytest.fixture(scope="module")
def features(model):
    """p3..p7 of one image by the model itself, in float64."""
    return [level.double() for level in model.backbone(model.padded(image(120, 90)[None]))]


def test_features_are_those_of_a_plain_network(model, features):
    expected = plain.pyramid(model.padded(image(120, 90)[None]).double(), plain.doubles(model))
    for level, plainly in zip(features, expected, strict=True):
        torch.testing.assert_close(level, plainly, rtol=1e-4, atol=1e-4 * plainly.abs().max().item())


def test_proposals_are_those_of_plain_loops(model, features):
    expected = plain.proposals(features, plain.doubles(model), 120, 90)
    (found,) = model.proposal_generator([level.float() for level in features], 120, 90)
    assert len(expected) > 50
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=0.01)


def test_cascade_is_the_mean_of_three_stages_on_boxes_refined_and_clipped(model, features):
    boxes = [(3.0, 4.0, 80.0, 100.0), (50.5, 60.25, 89.0, 119.0), (0.0, 0.0, 90.0, 120.0), (20.0, 30.0, 24.0, 33.0)]
    expected = plain.cascade(features, boxes, plain.doubles(model), 120, 90)
    found = model.roi_heads([level.float() for level in features[:3]], torch.tensor(boxes), 120, 90)
    torch.testing.assert_close(found[0], torch.tensor(expected[0]), rtol=0, atol=0.01)
    torch.testing.assert_close(found[1], expected[1].float(), rtol=0, atol=1e-4)
    assert not torch.allclose(found[0], torch.tensor(boxes), atol=1.0), "a cascade that moves no box proves nothing"


@pytest.mark.long
@pytest.mark.parametrize("size", [(90, 70), (64, 64)])
def test_detections_are_within_half_a_pixel_and_a_thousandth(model, variant, size):
    pixels = image(*size, seed=1)
    expected = plain.detect(pixels, plain.doubles(model), variant.pixel_mean, variant.pixel_std)
    (found,) = model(pixels[None])
    assert len(expected) > 50
    scores, classes, boxes = (torch.tensor(part) for part in zip(*expected, strict=True))
    assert_same_detections(found, Detections(boxes, scores, classes), of_score=1e-3, of_box=0.5)
