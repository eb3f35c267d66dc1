"""Whether a server keeps an image from training.

Two conventions: the directives `noai`, `noimageai`, `noindex` and `noimageindex` of `X-Robots-Tag`, which are those
that img2dataset refuses by default, and `tdm-reservation: 1` (W3C's TDM Reservation Protocol).
"""

from collections.abc import Iterator

from multidict import CIMultiDictProxy

DIRECTIVES = frozenset({"noai", "noimageai", "noindex", "noimageindex"})
AGENT = "taca"  # our name, as robots' tags call us
# Directives with a value of their own, which a colon does not make the name of a robot.
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def opt_out(headers: CIMultiDictProxy[str]) -> str | None:
    """The header that forbids, as text; None where none does."""
    for value in headers.getall("X-Robots-Tag", ()):
        if any(robot in (AGENT, "*") and directive in DIRECTIVES for robot, directive in _directives(value)):
            return f"X-Robots-Tag: {value}"
    if headers.get("tdm-reservation", "").strip() == "1":
        return "tdm-reservation: 1"
    return None


def _directives(value: str) -> Iterator[tuple[str, str]]:
    """Robot and directive; "googlebot: noindex, nofollow" names a robot for all that follow it, and * is all."""
    robot = "*"
    for part in value.lower().split(","):
        name, colon, rest = part.partition(":")
        if colon and name.strip() not in _VALUED:
            robot, part = name.strip(), rest
        yield robot, part.strip()
