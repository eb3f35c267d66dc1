"""The built-in scorers on drawn images: right images score 1, wrong ones 0."""

from dataclasses import replace

import pytest
from PIL import Image

from compbench.scorers.interface import Prompt
from compbench.scorers.spatial import SpatialScorer
from lab.errors import LabError
from lab.world.render import render
from lab.world.scene import Scene, SceneObject
from lab.world.scorers import WorldAttributeScorer, WorldDetector, attributes_of
from lab.world.vocabulary import RELATIONS


@pytest.fixture
def attribute():
    return WorldAttributeScorer(WorldDetector())


@pytest.fixture
def spatial():
    return SpatialScorer(WorldDetector())


def asking(*phrases: str) -> Prompt:
    return Prompt(0, " and ".join(phrases), "color", phrases)


def scene(*objects: SceneObject) -> Image.Image:
    return render(Scene("pair", objects, None, 245))


RED_CIRCLE = SceneObject("circle", "red", "plain", 16, 32, 11)
BLUE_SQUARE = SceneObject("square", "blue", "striped", 47, 32, 12)


@pytest.mark.parametrize(
    ("phrases", "expected"),
    [
        (("red circle", "blue square"), 1),
        (("circle", "square"), 1),
        (("plain circle", "striped square"), 1),
        (("plain red circle", "striped blue square"), 1),
        (("blue circle", "red square"), 0),
        (("striped circle", "plain square"), 0),
        (("red circle", "star"), 0),
        (("red circle", "plain blue square"), 0),
    ],
)
def test_every_phrase_must_be_there_with_all_its_attributes(attribute, phrases, expected):
    """Colours bound to the wrong objects count as absent."""
    [score] = attribute.score([scene(RED_CIRCLE, BLUE_SQUARE)], [asking(*phrases)])
    assert score == pytest.approx(expected, abs=0.05)


def test_an_empty_image_scores_0(attribute):
    assert attribute.score([Image.new("RGB", (64, 64), "white")], [asking("red circle")]) == [0.0]


@pytest.mark.parametrize(("phrase", "word"), [("green bench", "bench"), ("a circle", "a"), ("two circles", "two")])
def test_a_word_that_the_world_does_not_know_is_refused(phrase, word):
    with pytest.raises(LabError, match=f'does not know "{word}" in the phrase "{phrase}"'):
        attributes_of(phrase)


def test_a_prompt_without_phrases_is_refused(attribute):
    with pytest.raises(LabError, match="names no object"):
        attribute.score([Image.new("RGB", (64, 64))], [Prompt(4, "something", "color")])


# Where the circle stands, with the star in the middle of the picture's other part.
PLACES = {
    "on the left of": ((13, 32), (50, 32)),
    "on the right of": ((50, 32), (13, 32)),
    "on the top of": ((32, 13), (32, 50)),
    "on the bottom of": ((32, 50), (32, 13)),
    "next to": ((20, 32), (44, 34)),
    "near": ((22, 24), (42, 40)),
    "on side of": ((19, 32), (45, 30)),
}


def test_every_relation_is_covered():
    assert set(PLACES) == set(RELATIONS)


@pytest.mark.parametrize("size", [64, 512])
@pytest.mark.parametrize("relation", RELATIONS)
def test_relation_scores_1_when_drawn(spatial, relation, size):
    [score] = spatial.score([circle_and_star(*PLACES[relation], size)], [related(relation)])
    assert score == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("relation", [relation for relation in RELATIONS if relation.startswith("on the")])
def test_direction_scores_0_when_drawn_the_other_way(spatial, relation):
    """Even with both objects found for certain."""
    assert spatial.score([circle_and_star(*reversed(PLACES[relation]))], [related(relation)]) == [0.0]


@pytest.mark.parametrize("relation", RELATIONS)
def test_relation_scores_0_when_an_object_is_missing(spatial, relation):
    first, _ = PLACES[relation]
    assert spatial.score([scene(SceneObject("circle", "red", "plain", *first, 11))], [related(relation)]) == [0.0]


@pytest.mark.parametrize("relation", ["next to", "near", "on side of"])
def test_beside_scores_less_far_away(spatial, relation):
    """Opposite corners: centres about 300 pixels of the frame apart on both axes."""
    [score] = spatial.score([circle_and_star((12, 12), (51, 51))], [related(relation)])
    assert 0.5 < score < 0.8


def circle_and_star(circle, star, size: int = 64) -> Image.Image:
    drawn = scene(SceneObject("circle", "red", "plain", *circle, 11), SceneObject("star", "blue", "plain", *star, 11))
    return drawn.resize((size, size), Image.Resampling.NEAREST)


def related(relation: str) -> Prompt:
    return Prompt(0, f"circle {relation} star", "spatial", ("circle", "star"), ("circle", "star"), relation)


@pytest.mark.parametrize("category", ["color", "shape", "texture", "spatial", "complex"])
def test_shuffling_prompts_among_images_lowers_the_score(prompts, drawn, category, attribute, spatial):
    scorer = spatial if category == "spatial" else attribute
    asked = [prompt for prompt in prompts if prompt.category == category]
    images = [drawn[prompt.index] for prompt in asked]
    right = sum(scorer.score(images, asked)) / len(asked)
    wrong = sum(scorer.score(list(images), asked[1:] + asked[:1])) / len(asked)
    assert right > 0.9
    assert wrong < right - 0.5


def test_scorers_that_share_a_detector_look_once(monkeypatch, prompts, drawn):
    """Attribute and spatial scores of complex prompts come from one detection of each image."""
    seen = []
    from lab.world import scorers as world

    detect = world.detect
    monkeypatch.setattr(world, "detect", lambda image: seen.append(image) or detect(image))
    asked = [prompt for prompt in prompts if prompt.category == "complex"]
    images = [drawn[prompt.index] for prompt in asked]
    detector = WorldDetector()
    WorldAttributeScorer(detector).score(images, asked)
    SpatialScorer(detector).score(images, asked)
    assert len(seen) == len(images)
    SpatialScorer(detector).score([images[0]], [replace(asked[0])])
    assert len(seen) == len(images) + 1, "another batch is another look"
