"""How numbers and categories are written in tables and figures."""

from taca.scoring.statistics import Interval

CATEGORY_NAMES = {
    "color": "Color",
    "shape": "Shape",
    "texture": "Texture",
    "spatial": "Spatial",
    "non_spatial": "Non-Spatial",
    "complex": "Complex",
}
CATEGORY_GROUPS = {
    "Attribute Binding": ("color", "shape", "texture"),
    "Object Relationship": ("spatial", "non_spatial"),
    "": ("complex",),
}
"""The headings of the paper's Table 1 over its columns."""


def number(value: float) -> str:
    """Four decimals, as in the paper."""
    return f"{value:.4f}".replace("-", "−")


def signed(value: float) -> str:
    """Four decimals with a sign, also for zero."""
    return f"{value:+.4f}".replace("-", "−")


def bounds(interval: Interval) -> str:
    """The bounds of an interval of scores."""
    return f"[{number(interval.low)}, {number(interval.high)}]"


def signed_bounds(interval: Interval) -> str:
    """The bounds of an interval of differences."""
    return f"[{signed(interval.low)}, {signed(interval.high)}]"


def listing(names: list[str]) -> str:
    """'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
