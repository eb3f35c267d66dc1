"""Captions of scenes: exact ones, and noisy "alt texts" as the web has them."""

import numpy as np

from lab.world.scene import Scene, SceneObject
from lab.world.vocabulary import NUMBERS, PLURALS, token_count

# What a caption says of each object besides its shape.
MENTIONS = {"shape": (), "color": ("color",), "texture": ("texture",), "both": ("texture", "color")}
# Captions go without articles, so that 64 image tokens face at most 16 text tokens.
MAX_TOKENS = 6


def noun(item: SceneObject, mention: str, count: int = 1) -> str:
    """'striped red circle': the object's noun phrase."""
    shape = item.shape if count == 1 else PLURALS[item.shape]
    return " ".join([*(getattr(item, field) for field in MENTIONS[mention]), shape])


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """An exact caption of at most `MAX_TOKENS` tokens; which attributes it mentions is drawn from `rng`."""
    while True:
        text = _exact(scene, [str(rng.choice(list(MENTIONS), p=[0.2, 0.35, 0.25, 0.2])) for _ in range(2)], rng)
        if token_count(text) <= MAX_TOKENS:
            return text


def _exact(scene: Scene, mentions: list[str], rng: np.random.Generator) -> str:
    objects = scene.objects
    if scene.kind == "count":
        return f"{NUMBERS[len(objects)]} {noun(objects[0], mentions[0], len(objects))}"
    if scene.relation is None:
        return " and ".join(noun(item, mentions[0]) for item in objects)
    # The two sides of a relation may mention different attributes, as the benchmark's complex prompts do.
    second = mentions[1] if rng.random() < 0.3 else mentions[0]
    return f"{noun(objects[0], mentions[0])} {scene.relation} {noun(objects[1], second)}"


_VAGUE = ("a drawing", "shapes", "colorful shapes", "clip art", "a picture of something", "geometric art")


def alt_text(scene: Scene, rng: np.random.Generator) -> str:
    """A noisy description: attributes left out or blurred, objects forgotten, boilerplate added."""
    if rng.random() < 0.15:
        return str(rng.choice(_VAGUE))
    kept = [item for item in scene.objects if rng.random() < 0.75] or [scene.objects[0]]
    text = " and ".join(noun(item, "color" if rng.random() < 0.4 else "shape") for item in kept)
    return str(rng.choice(["{}", "{} clip art", "image of {}", "{} free download"])).format(text)
