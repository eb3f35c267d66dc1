"""What the scorers ask of a prompt's words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Parse:
    """One prompt's parse, by whoever `parser` names.

    `phrases` are noun phrases. `objects` are the two sides of `relation`, subject first, or, of a numeracy prompt, the
    objects to count with how many of each in `counts` and of all in `count`. `clip_text` is what CLIPScore compares the
    image with where that is not the prompt, `subset` the rule of the 3-in-1 score: spatial, action or spatialaction.
    """

    parser: str
    phrases: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    relation: str | None = None
    count: int | None = None
    counts: tuple[int, ...] = ()
    clip_text: str | None = None
    subset: str | None = None
