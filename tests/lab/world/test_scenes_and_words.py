"""Scenes hold what their words say."""

from functools import cache

import numpy as np
import pytest

from compbench.scorers.geometry import position_score, to_frame
from lab.errors import LabError
from lab.world.captions import MAX_TOKENS, alt_text, caption
from lab.world.geometry import CANVAS
from lab.world.prompts import CATEGORIES, world_prompts
from lab.world.scene import KINDS, sample_scene
from lab.world.vocabulary import INTERACTIONS, RELATIONS, phrases, token_count, words


@cache
def many_scenes():
    rng = np.random.default_rng(0)
    return [sample_scene(rng) for _ in range(2000)]


def scenes(count: int):
    return many_scenes()[:count]


@pytest.mark.long
def test_objects_lie_inside_the_canvas(true_box):
    """No object is cut by the picture's edge."""
    for scene in scenes(500):
        for item in scene.objects:
            x0, y0, x1, y1 = true_box(item)
            assert min(x0, y0) >= 0
            assert max(x1, y1) <= CANVAS


def test_every_kind_of_scene_is_drawn():
    """All kinds come up, with one to four objects."""
    drawn = scenes(500)
    assert {scene.kind for scene in drawn} == set(KINDS)
    assert {len(scene.objects) for scene in drawn} == {1, 2, 3, 4}


@pytest.mark.long
def test_drawn_relations_hold_by_the_benchmarks_rule(true_box):
    """Every scene made for a spatial relation fulfils it as the benchmark judges it."""
    related = [scene for scene in scenes(2000) if scene.relation in RELATIONS]
    assert {scene.relation for scene in related} == set(RELATIONS)
    for scene in related:
        first, second = (to_frame(true_box(item), CANVAS, CANVAS) for item in scene.objects)
        assert position_score(first, second, scene.relation) == 1, scene


@pytest.mark.long
def test_drawn_interactions_hold(true_box):
    """A guest lies inside its host, a larger object is larger, touching ones meet."""
    for scene in scenes(2000):
        if scene.kind != "interaction":
            continue
        a, b = (true_box(item) for item in scene.objects)
        if scene.relation == "inside":
            assert a[0] > b[0]
            assert a[1] > b[1]
            assert a[2] < b[2]
            assert a[3] < b[3]
        elif scene.relation == "larger than":
            assert scene.objects[0].radius > 1.4 * scene.objects[1].radius
        else:
            assert max(a[0], b[0]) - min(a[2], b[2]) < 9


@pytest.mark.long
def test_captions_are_short_and_of_known_words():
    """At most six tokens, all of the vocabulary, in captions and prompts; so no prompt embedding is ever cut."""
    rng = np.random.default_rng(1)
    known = set(words())
    texts = [caption(scene, rng) for scene in scenes(500)] + [p.prompt for p in world_prompts("val", 100, 7)]
    for text in texts:
        assert token_count(text) <= MAX_TOKENS
        for phrase in phrases():
            text = text.replace(phrase, "")
        assert set(text.split()) <= known


def test_alt_texts_leave_out_what_captions_may_say():
    """Alt texts are vaguer than captions: fewer of them name all objects."""
    rng = np.random.default_rng(1)
    drawn = [scene for scene in scenes(400) if len(scene.objects) == 3]
    named = [sum(item.shape in alt_text(scene, rng) for item in scene.objects) for scene in drawn]
    assert 0.3 < np.mean(named) / 3 < 0.8


@pytest.mark.long
def test_prompts_cover_the_categories_and_share_nothing_between_splits():
    """Six categories, the wanted number of each, no prompt twice, no prompt in both splits."""
    val, train = world_prompts("val", 100, 7), world_prompts("train", 30, 7)
    assert [sum(p.category == c for p in val) for c in CATEGORIES] == [100] * 6
    assert len({p.prompt for p in val}) == 600
    assert not {p.prompt for p in val} & {p.prompt for p in train}


@pytest.mark.long
def test_val_prompts_hold_unseen_combinations_and_train_prompts_none():
    """A third of the val prompts of color, texture and complex ask for what was never drawn."""
    val, train = world_prompts("val", 99, 7), world_prompts("train", 30, 7)
    unseen = {c: sum(p.unseen for p in val if p.category == c) for c in CATEGORIES}
    assert unseen == {"color": 33, "shape": 0, "texture": 33, "spatial": 0, "non_spatial": 0, "complex": 33}
    assert not any(p.unseen for p in train)


def test_too_many_prompts_are_refused_with_the_number_there_is():
    """The error names the key and the most that the world has."""
    with pytest.raises(LabError, match=r"`prompts.per_category` is 5000, but the world has at most"):
        world_prompts("val", 5000, 7)


@pytest.mark.long
def test_no_prompt_asks_for_one_object_in_another():
    """The base draws a smear for it; pictures and their captions keep the relation."""
    prompts = [prompt for split in ("val", "train") for prompt in world_prompts(split, 150, 7)]
    assert {prompt.relation for prompt in prompts if prompt.category == "non_spatial"} == {"touching", "larger than"}
    assert "inside" in INTERACTIONS
