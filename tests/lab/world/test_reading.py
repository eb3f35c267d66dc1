"""Captions from pixels are in the language that the world's own are in."""

from collections import Counter

import numpy as np
import pytest

from lab.world.captions import MAX_TOKENS, caption
from lab.world.detector import Detection, detect
from lab.world.reading import scene_of
from lab.world.render import render
from lab.world.scene import Scene, sample_scene
from lab.world.vocabulary import RELATIONS, token_count


@pytest.fixture(scope="module")
def read() -> list[tuple[Scene, Scene]]:
    """Scenes as they were drawn, and as they are read from their pixels."""
    rng = np.random.default_rng(3)
    drawn = [sample_scene(rng) for _ in range(200)]
    return [(scene, scene_of(detect(render(scene)), np.random.default_rng(i))) for i, scene in enumerate(drawn)]


def looks(scene: Scene) -> list[tuple[str, str, str]]:
    return [(item.shape, item.color, item.texture) for item in scene.objects]


def test_what_the_picture_tells_is_read_as_it_was_drawn(read):
    """Singles, triples, counts and interactions, with the objects in their order."""
    for drawn, found in read:
        if drawn.kind not in ("pair", "relation"):
            assert (found.kind, found.relation, looks(found)) == (drawn.kind, drawn.relation, looks(drawn))
        else:
            assert sorted(looks(found)) == sorted(looks(drawn))
            assert found.kind in ("pair", "relation")


def test_what_the_picture_leaves_open_is_said_as_often_as_the_world_says_it(read):
    """A third to two thirds of two objects are given a relation, all seven come, and what is said is true of them."""
    two = [(drawn, found) for drawn, found in read if drawn.kind in ("pair", "relation")]
    shares = [np.mean([scene.kind == "relation" for scene in scenes]) for scenes in zip(*two, strict=True)]
    assert abs(shares[0] - shares[1]) < 0.15
    assert {found.relation for _, found in two} == {None, *RELATIONS}
    for _, found in two:
        (one, other), dominant = found.objects, {"left": (1, 0), "right": (-1, 0), "top": (0, 1), "bottom": (0, -1)}
        for word, (x, y) in dominant.items():
            if found.relation and f" {word} " in f" {found.relation} ":
                assert x * (other.x - one.x) + y * (other.y - one.y) > 0, found


def test_captions_have_the_worlds_words_in_the_worlds_shares(read):
    """Four of a kind are counted, attributes are mentioned as often, and nothing is longer than a caption may be."""
    texts = [[caption(scene, np.random.default_rng([1, i])) for scene in pair] for i, pair in enumerate(read)]
    assert all(token_count(text) <= MAX_TOKENS for pair in texts for text in pair)
    counts = [Counter(word for text in side for word in text.split()) for side in zip(*texts, strict=True)]
    for word in ("two", "three", "four", "touching", "inside", "larger"):
        assert counts[0][word] == counts[1][word]
    for words in (("striped", "dotted", "checkered"), ("red", "green", "blue", "pink"), ("and",)):
        drawn, found = (sum(side[word] for word in words) for side in counts)
        assert abs(drawn - found) <= 0.2 * drawn


def test_more_objects_than_a_caption_names_are_not_all_named():
    """The surest three of different looks, so that a caption is found at all."""
    shapes = ("circle", "square", "star", "cross", "heart")
    found = [Detection(s, "red", "plain", (10 * i, 4, 10 * i + 9, 13), 1 - i / 10) for i, s in enumerate(shapes)]
    scene = scene_of(found, np.random.default_rng(0))
    assert [item.shape for item in scene.objects] == ["circle", "square", "star"]
    assert token_count(caption(scene, np.random.default_rng(0))) <= MAX_TOKENS
