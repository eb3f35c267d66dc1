"""The words of the built-in world, and the attribute combinations that its training data never show."""

# The benchmark's own phrases, so that its spatial rules apply to the world as they stand.
from compbench.parsing.relations import RELATIONS

SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "heart", "ring")
PLURALS = {shape: "crosses" if shape == "cross" else shape + "s" for shape in SHAPES}
TEXTURES = ("plain", "striped", "dotted", "checkered")

# sRGB. Hues lie at least 25 degrees apart, so that mixing with the light background never turns one into another.
COLORS = {
    "red": (222, 40, 40),
    "orange": (245, 132, 25),
    "yellow": (240, 222, 40),
    "green": (48, 165, 66),
    "cyan": (55, 200, 212),
    "blue": (45, 85, 218),
    "purple": (135, 60, 192),
    "pink": (245, 130, 190),
}

INTERACTIONS = ("inside", "touching", "larger than")
NUMBERS = {2: "two", 3: "three", 4: "four"}

# Combinations left out of every training scene ("unseen" in the prompts): one shape a colour, one a drawn texture.
UNSEEN_COLOR_SHAPES = frozenset((color, SHAPES[(3 * i + 1) % len(SHAPES)]) for i, color in enumerate(COLORS))
UNSEEN_TEXTURE_SHAPES = frozenset({("striped", "heart"), ("dotted", "square"), ("checkered", "circle")})


def words() -> list[str]:
    """Every word that a caption or prompt of the world can hold outside `phrases()`, in a fixed order."""
    glue = ["and", *(relation for relation in (*RELATIONS, *INTERACTIONS) if " " not in relation)]
    return [*glue, *NUMBERS.values(), *COLORS, *TEXTURES, *SHAPES, *PLURALS.values()]


def phrases() -> list[str]:
    """Relations of several words, which the tokenizers read as one token each."""
    return [relation for relation in (*RELATIONS, *INTERACTIONS) if " " in relation]


def token_count(text: str) -> int:
    """Tokens of a caption or prompt of the world, without a tokenizer's own special ones."""
    for phrase in phrases():
        text = text.replace(phrase, "phrase")
    return len(text.split())
