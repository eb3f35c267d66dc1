"""From PIL images to labelled boxes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from random_unidet import VARIANTS, randomised
from torchvision.transforms import Resize

from compbench.errors import CompbenchError
from compbench.scorers.mode import Mode
from compbench.scorers.unidet import detector as detector_module
from compbench.scorers.unidet.detector import UniDetDetector
from compbench.scorers.unidet.model import UniDet

LABELS = ("bench", "car", "tissue ", "table, desk", "car")


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Blobs of colours that differ between channels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def detector(model) -> UniDetDetector:
    return UniDetDetector(model, LABELS, Mode.OFFICIAL)


@pytest.fixture
def seen(model, monkeypatch) -> list[torch.Tensor]:
    """The pixels that the model is given."""
    pixels, forward = [], model.forward
    monkeypatch.setattr(model, "forward", lambda batch: (pixels.append(batch), forward(batch))[1])
    return pixels


@pytest.mark.parametrize("size", [(512, 512), (1344, 768), (300, 400), (80, 80)])
def test_the_model_sees_torchvisions_resize_in_0_to_255(detector, seen, size):
    image = picture(*size)
    detector.detect([image])
    resized = np.asarray(Resize(479, max_size=480)(image))
    np.testing.assert_array_equal(seen[0][0].flip(0).permute(1, 2, 0).numpy(), resized)


@pytest.mark.parametrize(
    ("name", "mode", "channels"),
    [
        ("rs200", Mode.OFFICIAL, "BGR"),
        ("rs200", Mode.CORRECTED, "RGB"),
        ("r50", Mode.OFFICIAL, "BGR"),
        ("r50", Mode.CORRECTED, "BGR"),
    ],
    indirect=["name"],
)
def test_only_rs200_corrected_sees_rgb(model, seen, mode, channels):
    image = Image.new("RGB", (479, 479), (200, 100, 50))
    UniDetDetector(model, LABELS, mode).detect([image])
    colours = {"RGB": [200, 100, 50], "BGR": [50, 100, 200]}[channels]
    assert seen[0].unique(dim=-1).unique(dim=-2).flatten().tolist() == colours


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rs200", [(50 - 123.68) / 58.393, (100 - 116.779) / 57.12, (200 - 103.939) / 57.375]),
        ("r50", [50 - 103.53, 100 - 116.28, 200 - 123.675]),
    ],
    indirect=["name"],
)
def test_official_colours_are_normalised_by_the_published_numbers(model, seen, expected):
    """RS200's are those of red, green and blue, and meet blue, green and red."""
    UniDetDetector(model, LABELS, Mode.OFFICIAL).detect([Image.new("RGB", (479, 479), (200, 100, 50))])
    assert model.padded(seen[0])[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)


def test_boxes_lie_in_the_frame_and_come_best_first(detector):
    (found,) = detector.detect([picture(1344, 768)])
    assert len(found) > 50
    assert max(one.box[2] for one in found) <= 480
    assert max(one.box[3] for one in found) <= 274
    confidences = [one.confidence for one in found]
    assert confidences == sorted(confidences, reverse=True)
    assert {one.label for one in found} <= set(LABELS)


@pytest.mark.long
def test_images_of_any_sizes_are_found_as_each_alone_and_in_their_order(detector):
    images = [picture(512, 512), picture(800, 300, 1), picture(256, 256, 2)]
    together = detector.detect(images)
    for image, found in zip(images, together, strict=True):
        (alone,) = detector.detect([image])
        assert [one.label for one in found] == [one.label for one in alone]
        np.testing.assert_allclose([one.confidence for one in found], [one.confidence for one in alone], atol=1e-5)


def test_more_images_than_a_pass_takes_are_all_answered(detector, seen, monkeypatch):
    monkeypatch.setattr(detector_module, "BATCH_SIZE", 2)
    images = [picture(600, 100, seed) for seed in range(3)]
    found = detector.detect(images)
    assert [len(batch) for batch in seen] == [2, 1]
    (last,) = detector.detect(images[2:])
    assert [one.label for one in found[2]] == [one.label for one in last]


def test_two_scorers_of_one_batch_share_one_look(detector, seen):
    images = [picture(600, 100)]
    assert detector.detect(images) is detector.detect(images)
    assert len(seen) == 1
    detector.detect(list(images))
    assert len(seen) == 2


@pytest.mark.long
def test_half_precision_scores_as_the_benchmarks_code_does(model, detector):
    """Scores have the eleven bits of half precision, and agree with single precision to a few of its steps."""
    images = [picture(600, 100)]
    (half,) = UniDetDetector(model, LABELS, Mode.OFFICIAL, dtype="float16").detect(images)
    (single,) = detector.detect(images)
    scores = np.array([one.confidence for one in half])
    np.testing.assert_array_equal(scores, scores.astype(np.float16))
    assert abs(scores[0] - single[0].confidence) < 0.02
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("name", ["r50"], indirect=True)
def test_the_image_that_cannot_be_scored_is_named_with_the_remedy(variant):
    """Also the second time: a batch that failed leaves nothing behind."""
    broken = randomised(UniDet(variant))
    broken.backbone.bottom_up.stem.conv1.norm.running_var.fill_(torch.nan)
    detector = UniDetDetector(broken, LABELS, Mode.OFFICIAL)
    images = [picture(600, 100)] * 2
    for _ in range(2):
        with pytest.raises(CompbenchError, match=r"features of image 1 of 2 are NaN or infinite.*use float32"):
            detector.detect(images)


def test_the_place_of_a_broken_image_is_that_in_the_list(detector, model, monkeypatch):
    """The white one is the third of the list and the second of its batch."""
    padded = model.padded

    def spoil_white(pixels: torch.Tensor) -> torch.Tensor:
        return padded(pixels).where(pixels.mean((1, 2, 3), keepdim=True) < 255, torch.nan)

    monkeypatch.setattr(model, "padded", spoil_white)
    with pytest.raises(CompbenchError, match="image 3 of 3"):
        detector.detect([picture(300, 200), picture(64, 64), Image.new("RGB", (300, 200), "white")])


def test_labels_for_other_classes_are_refused(model):
    with pytest.raises(CompbenchError, match="UniDet has 5 classes, but its label space names 2"):
        UniDetDetector(model, ("bench", "car"), Mode.OFFICIAL)


def test_float32_convolutions_do_not_round_to_tf32(detector, model, monkeypatch):
    allowed, forward = [], model.forward

    def watched(batch):
        allowed.append(torch.backends.cudnn.allow_tf32)
        return forward(batch)

    monkeypatch.setattr(model, "forward", watched)
    detector.detect([picture(64, 64)])
    assert allowed == [False]


def test_from_weights_reads_the_folder_as_it_is_fetched(name, variant, model, tmp_path, monkeypatch):
    monkeypatch.setitem(detector_module.VARIANTS, name, VARIANTS[name])
    folder = tmp_path / "unidet"
    folder.mkdir()
    torch.save({"model": dict(model.state_dict())}, folder / f"Unified_learned_OCIM_{name.upper()}_6x+2x.pth")
    categories = [{"id": index, "name": f"{word}__"} for index, word in enumerate("abcde")]
    (folder / "learned_mAP+M.json").write_text(json.dumps({"categories": categories}))
    images = [picture(600, 100)]
    (found,) = UniDetDetector.from_weights(tmp_path, name, Mode.OFFICIAL).detect(images)
    (expected,) = UniDetDetector(model, tuple("abcde"), Mode.OFFICIAL).detect(images)
    assert [one.label for one in found] == [one.label for one in expected]
    np.testing.assert_allclose([one.box for one in found], [one.box for one in expected], atol=0.01)
    assert (folder / f"Unified_learned_OCIM_{name.upper()}_6x+2x.safetensors").is_file()
