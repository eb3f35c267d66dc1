"""Numbers as people pass them: of Python, numpy or `fractions`."""

import math
from numbers import Real


def real(value: object) -> float:
    """A real number as a float; NaN, which lies in no range, for a bool, anything else, and what no float holds."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
