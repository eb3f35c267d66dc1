"""The detector reads what was drawn, and nothing from what was not."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from lab.world.detector import Detection, detect
from lab.world.render import render
from lab.world.scene import Scene, SceneObject, sample_scene
from lab.world.vocabulary import COLORS, SHAPES, TEXTURES, UNSEEN_COLOR_SHAPES


def overlap(a, b) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if min(width, height) <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def matches(found: Detection, item: SceneObject, box) -> bool:
    looks_same = (found.shape, found.color, found.texture) == (item.shape, item.color, item.texture)
    return looks_same and overlap(found.box, box) >= 0.5


def recall_and_false_rate(scenes: int, seed: int, true_box) -> tuple[float, float]:
    """Share of drawn objects found with every attribute right, and share of detections that match no object."""
    rng = np.random.default_rng(seed)
    drawn = hits = false = 0
    for _ in range(scenes):
        scene = sample_scene(rng)
        left = detect(render(scene))
        for item in scene.objects:
            match = next((d for d in left if matches(d, item, true_box(item))), None)
            drawn += 1
            if match:
                hits += 1
                left.remove(match)
        false += len(left)
    return hits / drawn, false / (hits + false)


@pytest.mark.long
def test_recall_and_false_objects_on_drawn_scenes(true_box):
    """At least 97 % of objects are found with colour, shape, texture and box right; at most 3 % are invented."""
    recall, false_rate = recall_and_false_rate(150, 1, true_box)
    assert recall >= 0.97
    assert false_rate <= 0.03


@pytest.mark.slow
def test_recall_and_false_objects_on_2000_drawn_scenes(true_box):
    """The same on 2,000 scenes of another seed."""
    recall, false_rate = recall_and_false_rate(2000, 2, true_box)
    print(f"recall {recall:.4f}, false objects {false_rate:.4f}")
    assert recall >= 0.97
    assert false_rate <= 0.03


@pytest.mark.long
def test_every_seen_look_is_read_back(true_box):
    """Each shape in each colour and texture, alone in the picture, is read as itself with confidence above 0.9."""
    for shape in SHAPES:
        for number, color in enumerate(COLORS):
            texture = TEXTURES[number % len(TEXTURES)]
            item = SceneObject(shape, color, texture, 32.3, 30.6, 14.0)
            found = detect(render(Scene("single", (item,), None, 240)))
            assert [matches(d, item, true_box(item)) for d in found] == [True], (item, found)
            assert found[0].confidence > 0.9


@pytest.mark.parametrize("share", [0.4, 0.5, 0.6])
def test_an_object_between_two_colours_is_one_object_of_either(monkeypatch, share):
    """Its pixels lie now nearer to one, now to the other; it comes out whole, with its shape."""
    by_hue = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
    rng = np.random.default_rng(0)
    for first, second in zip(by_hue, by_hue[1:] + by_hue[:1], strict=True):
        mixed = (1 - share) * np.array(COLORS[first]) + share * np.array(COLORS[second])
        monkeypatch.setitem(COLORS, "between", tuple(mixed))
        for shape, texture in (("star", "plain"), ("heart", "striped")):
            image = render(Scene("single", (SceneObject(shape, "between", texture, 32, 31, 12),), None, 240))
            monkeypatch.delitem(COLORS, "between", raising=False)
            drifting = gaussian_filter(rng.normal(size=(64, 64, 3)), (6, 6, 0)) * 150
            found = detect((np.asarray(image) + drifting).clip(0, 255).astype(np.uint8))
            assert [(d.shape, d.texture, d.color in (first, second)) for d in found] == [(shape, texture, True)]
            monkeypatch.setitem(COLORS, "between", tuple(mixed))
        monkeypatch.delitem(COLORS, "between")


@pytest.mark.long
@pytest.mark.parametrize("sigma", [0, 1, 2, 4])
def test_noise_holds_nothing(sigma):
    """White noise and its smoothed forms give no objects, or hardly any."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(20):
        noise = gaussian_filter(rng.normal(size=(64, 64, 3)), (sigma, sigma, 0))
        found += len(detect((noise / noise.std() * 60 + 128).clip(0, 255).astype(np.uint8)))
    assert found <= (0 if sigma <= 1 else 3)


@pytest.mark.parametrize("color", [(255, 255, 255), (128, 128, 128), (0, 0, 0), (222, 40, 40)])
def test_flat_pictures_hold_nothing(color):
    """A picture of one colour is a ground and no object."""
    assert detect(Image.new("RGB", (64, 64), color)) == []


def test_boxes_are_in_the_images_own_pixels(true_box):
    """An enlarged picture gives the same objects with enlarged boxes."""
    item = SceneObject("square", "blue", "plain", 24, 40, 12)
    image = render(Scene("single", (item,), None, 240))
    (small,), (large,) = detect(image), detect(image.resize((256, 256), Image.Resampling.NEAREST))
    assert overlap(tuple(4 * edge for edge in small.box), large.box) > 0.95


@pytest.mark.long
def test_unseen_combinations_are_never_drawn():
    """No training scene shows a held-out colour and shape."""
    rng = np.random.default_rng(3)
    looks = {(o.color, o.shape) for _ in range(2000) for o in sample_scene(rng).objects}
    assert not looks & UNSEEN_COLOR_SHAPES
    assert len(looks) == len(COLORS) * len(SHAPES) - len(UNSEEN_COLOR_SHAPES)
