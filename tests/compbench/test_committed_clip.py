"""The CLIP model that comes with the base knows which caption belongs to which picture."""

from pathlib import Path

import numpy as np
import pytest

from compbench.scorers.clip import ClipScorer
from compbench.scorers.interface import Prompt
from compbench.statistics import paired_difference
from lab.world.captions import noun
from lab.world.render import render
from lab.world.scene import sample_scene

CLIP = Path(__file__).parents[2] / "models/base/builtin/clip"


@pytest.fixture(scope="module")
def scored():
    """CLIPScore of drawn interactions with their own captions and with another picture's."""
    rng = np.random.default_rng(5)
    scenes = [scene for scene in (sample_scene(rng) for _ in range(900)) if scene.kind == "interaction"][:100]
    images = [render(scene) for scene in scenes]
    texts = [f"{noun(s.objects[0], 'color')} {s.relation} {noun(s.objects[1], 'color')}" for s in scenes]
    prompts = [Prompt(number, text, "non_spatial") for number, text in enumerate(texts)]
    scorer = ClipScorer.from_folder(CLIP)
    own = scorer.score(images, prompts)
    other = scorer.score(images, prompts[1:] + prompts[:1])
    return dict(enumerate(own)), dict(enumerate(other))


@pytest.mark.long
def test_shuffled_prompts_lower_clip_score_by_more_than_the_interval(scored):
    """The paired difference of own and shuffled captions excludes zero by far."""
    own, other = scored
    difference = paired_difference(other, own)
    assert difference.high < 0
    assert difference.mean < -0.2
