"""Prompts of every category and the images that they ask for, drawn: fixtures that several folders of tests import."""

import numpy as np
import pytest

from compbench.scorers.interface import Prompt
from lab.world.geometry import place_pair, scatter
from lab.world.render import render
from lab.world.scene import Scene, SceneObject
from lab.world.vocabulary import COLORS, SHAPES, TEXTURES


def look_of(phrase: str, color: str) -> tuple[str, str, str]:
    """(shape, color, texture) of a phrase; what it leaves open is filled in."""
    words = phrase.split()
    return (
        next(word for word in words if word in SHAPES),
        next((word for word in words if word in COLORS), color),
        next((word for word in words if word in TEXTURES), "plain"),
    )


def draw(prompt: Prompt, seed: int = 0):
    """An image that shows exactly what the prompt says."""
    rng = np.random.default_rng(seed)
    looks = [look_of(phrase, color) for phrase, color in zip(prompt.phrases, ("red", "blue"), strict=True)]
    if prompt.relation is None:
        places = scatter(rng, [11.0, 11.0])
    else:
        places = place_pair(rng, prompt.relation, looks[0][0], looks[1][0])
    objects = tuple(SceneObject(*look, *place) for look, place in zip(looks, places, strict=True))
    return render(Scene("pair", objects, prompt.relation, 245))


# In each category a prompt shares no look or relation with the next one, so that the next one's image is a wrong one.
PROMPTS = [
    ("color", ("red circle", "blue square"), None),
    ("color", ("green star", "orange heart"), None),
    ("color", ("purple cross", "cyan triangle"), None),
    ("shape", ("circle", "star"), None),
    ("shape", ("square", "heart"), None),
    ("texture", ("striped circle", "dotted square"), None),
    ("texture", ("checkered square", "plain circle"), None),
    ("spatial", ("circle", "star"), "on the left of"),
    ("spatial", ("circle", "star"), "on the right of"),
    ("spatial", ("square", "triangle"), "on the top of"),
    ("non_spatial", ("red circle", "blue square"), "touching"),
    ("non_spatial", ("green star", "orange heart"), "larger than"),
    ("complex", ("striped red circle", "blue square"), "on the left of"),
    ("complex", ("green star", "dotted purple heart"), "on the bottom of"),
]


@pytest.fixture(scope="session")
def prompts() -> list[Prompt]:
    """Two or three prompts in each category."""
    return [
        Prompt(
            index=i,
            prompt=f"a {phrases[0]} {relation or 'and'} a {phrases[1]}",
            category=category,
            phrases=phrases,
            objects=tuple(look_of(phrase, "red")[0] for phrase in phrases),
            relation=relation,
        )
        for i, (category, phrases, relation) in enumerate(PROMPTS)
    ]


@pytest.fixture(scope="session")
def drawn(prompts):
    """The image that each prompt asks for, by the prompt's index."""
    return {prompt.index: draw(prompt, prompt.index) for prompt in prompts}
