"""The model as a whole: batches, padding, and the names and shapes of its tensors."""

import json
from pathlib import Path

import pytest
import torch
from random_unidet import assert_same_detections

from compbench.scorers.finite import NotFiniteError
from compbench.scorers.unidet.model import R50, RS200, UniDet

PUBLISHED_KEYS = Path(__file__).parents[4] / "shared" / "compbench"


def images(n: int, height: int, width: int) -> torch.Tensor:
    return (torch.rand(n, 3, height, width) * 255).round()


def same(first, second) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_padding_is_zeros_after_normalisation_to_multiples_of_32(model, variant):
    pixels = images(2, 70, 96)
    padded = model.padded(pixels)
    assert padded.shape == (2, 3, 96, 96)
    assert not padded[..., 70:, :].any()
    mean, std = (torch.tensor(of).view(3, 1, 1) for of in (variant.pixel_mean, variant.pixel_std))
    torch.testing.assert_close(padded[..., :70, :] * std + mean, pixels, rtol=0, atol=1e-3)


def test_no_box_leaves_the_image_for_its_padding(model):
    (found,) = model(images(1, 70, 97))
    assert found.boxes.amin() >= 0
    assert found.boxes.amax(0).tolist()[2:] <= [97, 70]
    assert found.boxes[:, 3].amax() <= 70
    assert len(found.scores) > 50


def test_a_batch_of_two_is_found_as_one_by_one(model):
    batch = images(2, 90, 120)
    for image, together in zip(batch, model(batch), strict=True):
        (alone,) = model(image[None])
        assert_same_detections(together, alone, of_score=5e-5, of_box=1e-2)


def test_the_same_images_give_the_same_bits(model):
    batch = images(2, 64, 96)
    assert all(same(*pair) for pair in zip(model(batch), model(batch), strict=True))


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        ("backbone.bottom_up.res4.0.conv2", "features"),
        ("backbone.top_block.p7", "features"),
        ("proposal_generator.rpn_head.anchor_deltas", "proposals"),
        ("roi_heads.box_predictor.1.cls_score", "class logits"),
        ("roi_heads.box_predictor.2.bbox_pred", "boxes"),
    ],
)
def test_a_weight_that_is_no_number_is_noticed(model, tensor, what):
    named = dict(model.state_dict())
    name = next(name for name in named if name.startswith(tensor) and name.endswith("weight"))
    kept = named[name].clone()
    named[name].view(-1)[0] = torch.nan
    try:
        with pytest.raises(NotFiniteError, match=what):
            model(images(1, 64, 64))
    finally:
        named[name].copy_(kept)


def test_the_image_with_the_numbers_that_are_none_is_named(model):
    """Its neighbours in the batch are sound."""
    batch = images(3, 64, 64)
    batch[1, 0, 5, 5] = torch.inf
    with pytest.raises(NotFiniteError) as raised:
        model(batch)
    assert raised.value.position == 1


def on_meta(variant) -> dict[str, tuple]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in UniDet(variant).state_dict().items()}


def test_published_widths_have_the_published_tensors():
    """5 tensors for a normalised convolution, 2 for one with a bias or a linear layer, 12 more for split attention.

    Blocks: RS200 3 + 24 + 36 + 3 = 66, of which each has two normalised convolutions and 13 tensors of split
    attention; R50 3 + 4 + 6 + 3 = 16 with three. Four shortcuts. The rest: pyramid, p6 and p7, proposals, and three
    heads and predictors.
    """
    rs200, r50 = on_meta(RS200), on_meta(R50)
    attention = 1 + 4 + 2 + 4 + 2
    rest = 2 * 2 + 3 * 2
    assert len(rs200) == 3 * 5 + 66 * (2 * 5 + attention) + 4 * 5 + 6 * 5 + rest + 3 * (4 * 5 + 2 + 4)
    assert len(r50) == 5 + 16 * 3 * 5 + 4 * 5 + 6 * 2 + rest + 3 * (4 + 4)
    assert rs200["backbone.bottom_up.res4.35.conv2.fc1.weight"] == (128, 256, 1, 1)
    assert rs200["roi_heads.box_head.2.fc1.weight"] == r50["roi_heads.box_head.2.fc1.weight"] == (1024, 12544)
    assert rs200["roi_heads.box_predictor.2.cls_score.weight"] == (723, 1024)
    assert r50["backbone.bottom_up.stem.conv1.weight"] == (64, 3, 7, 7)
    assert r50["proposal_generator.rpn_head.anchor_deltas.weight"] == (36, 256, 1, 1)


@pytest.mark.skipif(not PUBLISHED_KEYS.exists(), reason="the list of the published tensors is not here")
@pytest.mark.parametrize(("name", "published"), [("rs200", RS200), ("r50", R50)])
def test_every_published_tensor_has_its_place(name, published):
    keys = json.loads((PUBLISHED_KEYS / f"unidet_{name}_keys.json").read_text())
    assert on_meta(published) == {key: tuple(shape) for key, shape in keys.items()}
