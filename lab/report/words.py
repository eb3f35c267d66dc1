"""How numbers and categories are written in tables and figures."""

from compbench.statistics import Interval

CATEGORY_NAMES = {
    "color": "Color",
    "shape": "Shape",
    "texture": "Texture",
    "spatial": "Spatial",
    "3d_spatial": "3D-Spatial",
    "non_spatial": "Non-Spatial",
    "numeracy": "Numeracy",
    "complex": "Complex",
}
"""As the paper's Table 1 orders them, with the benchmark's two that it lacks."""
CATEGORY_GROUPS = {
    "Attribute Binding": ("color", "shape", "texture"),
    "Object Relationship": ("spatial", "3d_spatial", "non_spatial"),
    "": ("numeracy", "complex"),
}
"""The headings of the paper's Table 1 over its columns."""
QUALITY_NAMES = {"musiq": "MUSIQ", "maniqa": "MANIQA"}
"""The rows of the paper's Table 2."""
METRIC_NAMES = {
    "attribute": "attributes",
    "spatial": "positions",
    "spatial_3d": "depth",
    "numeracy": "numbers",
    "clip": "similarity of image and text",
    **QUALITY_NAMES,
}
"""What each scorer answers for."""


def number(value: float) -> str:
    """Four decimals, as in the paper."""
    return f"{value:.4f}".replace("-", "−")


def signed(value: float) -> str:
    """Four decimals with a sign, also for zero."""
    return f"{value:+.4f}".replace("-", "−")


def percent(share: float) -> str:
    """A share in percent: '33.3 %'."""
    return f"{100 * share:.1f} %"


def bounds(interval: Interval) -> str:
    """The bounds of an interval of scores."""
    return f"[{number(interval.low)}, {number(interval.high)}]"


def signed_bounds(interval: Interval) -> str:
    """The bounds of an interval of differences."""
    return f"[{signed(interval.low)}, {signed(interval.high)}]"


def listing(names: list[str]) -> str:
    """'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
