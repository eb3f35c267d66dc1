"""Relations between two objects, found as the benchmark finds them."""

# In the benchmark's order, which decides where a prompt holds two of them.
RELATIONS_2D = (
    "on side of",
    "next to",
    "near",
    "on the left of",
    "on the right of",
    "on the bottom of",
    "on the top of",
    "on top of",
)
# Those that the simple rules know, which the built-in world draws.
RELATIONS = (
    "on the left of",
    "on the right of",
    "on the top of",
    "on the bottom of",
    "next to",
    "near",
    "on side of",
)
RELATIONS_3D = ("in front of", "behind", "hidden")


def first_relation(prompt: str, relations: tuple[str, ...]) -> str | None:
    """The first of `relations` that occurs in the prompt, within a word too; None without one."""
    return next((relation for relation in relations if relation in prompt), None)
