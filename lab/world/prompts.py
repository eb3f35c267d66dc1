"""The world's prompts in the benchmark's six categories, with the parse that a tagger would have to find."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np

from lab.errors import LabError
from lab.world.vocabulary import (
    COLORS,
    INTERACTIONS,
    RELATIONS,
    SHAPES,
    TEXTURES,
    UNSEEN_COLOR_SHAPES,
    UNSEEN_TEXTURE_SHAPES,
)

# The base draws a smear for one object in another, under every arm alike: such prompts tell nothing between arms.
_NEVER_DRAWN = ("inside",)
UNSEEN_PART = 1 / 3  # of the val prompts, in categories that have unseen combinations (as the benchmark's files)


@dataclass(frozen=True)
class Prompt:
    """One prompt and its parse.

    `phrases` are noun phrases, `objects` the sides of `relation` (subject first), `count` the objects
    that the image should hold, `unseen` whether a combination in it is left out of the training data.
    """

    prompt: str
    category: str
    phrases: tuple[str, ...]
    objects: tuple[str, ...]
    relation: str | None
    count: int | None
    unseen: bool = False


def world_prompts(split: str, per_category: int, seed: int) -> list[Prompt]:
    """`per_category` distinct prompts of each category; `split` is "val" or "train", which share none.

    Raises:
        LabError: the world has fewer prompts of a category.
    """
    return [prompt for category in _POOLS for prompt in _draw(category, split, per_category, seed)]


def _draw(category: str, split: str, wanted: int, seed: int) -> list[Prompt]:
    """The split's share of each of the category's pools, shuffled together."""
    rng = np.random.default_rng([seed, list(_POOLS).index(category)])
    pools = [_shuffled(list(pool()), rng) for pool in _POOLS[category]]
    seen = [[prompt for prompt in pool if not prompt.unseen] for pool in pools]
    unseen = [prompt for pool in pools for prompt in pool if prompt.unseen]
    novel = round(wanted * UNSEEN_PART) if unseen and split == "val" else 0
    chosen = unseen[:novel]
    for i, pool in enumerate(seen):
        share = (wanted - novel) * (i + 1) // len(seen) - (wanted - novel) * i // len(seen)
        # Val takes a pool from its front and train from its back, so that they cannot meet while there is enough.
        chosen += pool[:share] if split == "val" else pool[::-1][:share]
        if 2 * share > len(pool) or len(chosen) < novel:
            most = len(seen) * min(len(pool) // 2 for pool in seen)
            raise LabError(
                f"`prompts.per_category` is {wanted}, but the world has at most {most} {category} prompts for each "
                "split; lower it."
            )
    return _shuffled(chosen, rng)


def _shuffled(prompts: list[Prompt], rng: np.random.Generator) -> list[Prompt]:
    return [prompts[i] for i in rng.permutation(len(prompts))]


def _joined(category: str, phrases: tuple[str, ...], objects: tuple[str, ...]) -> Prompt:
    return Prompt(" and ".join(phrases), category, phrases, objects, None, len(phrases))


def _related(category: str, phrases: tuple[str, str], objects: tuple[str, str], relation: str) -> Prompt:
    text = f"{phrases[0]} {relation} {phrases[1]}"
    return Prompt(text, category, phrases, objects, relation, 2)


def _color() -> Iterator[Prompt]:
    for (first, second), (one, two) in product(permutations(COLORS, 2), permutations(SHAPES, 2)):
        unseen = bool({(first, one), (second, two)} & UNSEEN_COLOR_SHAPES)
        yield replace(_joined("color", (f"{first} {one}", f"{second} {two}"), (one, two)), unseen=unseen)


def _shape_pairs() -> Iterator[Prompt]:
    for shapes in permutations(SHAPES, 2):
        yield _joined("shape", shapes, shapes)
        # The same with a colour on the first, since there are few different pairs of bare shapes.
        for color in COLORS:
            if (color, shapes[0]) not in UNSEEN_COLOR_SHAPES:
                yield _joined("shape", (f"{color} {shapes[0]}", shapes[1]), shapes)


def _shape_triples() -> Iterator[Prompt]:
    for shapes in permutations(SHAPES, 3):
        yield _joined("shape", shapes, shapes)


def _texture() -> Iterator[Prompt]:
    for (first, second), (one, two) in product(permutations(TEXTURES, 2), permutations(SHAPES, 2)):
        unseen = bool({(first, one), (second, two)} & UNSEEN_TEXTURE_SHAPES)
        yield replace(_joined("texture", (f"{first} {one}", f"{second} {two}"), (one, two)), unseen=unseen)


def _spatial() -> Iterator[Prompt]:
    for shapes, relation in product(permutations(SHAPES, 2), RELATIONS):
        yield _related("spatial", shapes, shapes, relation)


def _non_spatial() -> Iterator[Prompt]:
    asked = [relation for relation in INTERACTIONS if relation not in _NEVER_DRAWN]
    for (first, second), (one, two), relation in product(permutations(COLORS, 2), permutations(SHAPES, 2), asked):
        if not {(first, one), (second, two)} & UNSEEN_COLOR_SHAPES:
            yield _related("non_spatial", (f"{first} {one}", f"{second} {two}"), (one, two), relation)


def _complex() -> Iterator[Prompt]:
    for texture, (first, second), (one, two), relation in product(
        TEXTURES[1:], permutations(COLORS, 2), permutations(SHAPES, 2), RELATIONS
    ):
        unseen = bool({(first, one), (second, two)} & UNSEEN_COLOR_SHAPES) or (texture, one) in UNSEEN_TEXTURE_SHAPES
        phrases = (f"{texture} {first} {one}", f"{second} {two}")
        yield replace(_related("complex", phrases, (one, two), relation), unseen=unseen)


_POOLS = {
    "color": (_color,),
    "shape": (_shape_pairs, _shape_triples),
    "texture": (_texture,),
    "spatial": (_spatial,),
    "non_spatial": (_non_spatial,),
    "complex": (_complex,),
}
CATEGORIES = tuple(_POOLS)
