"""What keeps an image from training, as servers word it."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from lab.data.fetching.opt_outs import opt_out


@pytest.mark.parametrize(
    ("value", "forbids"),
    [
        ("noai", True),
        ("noimageai", True),
        ("noindex", True),
        ("noimageindex", True),
        ("NoAI, NoFollow", True),
        (" all ,  noai ", True),
        ("taca: noai", True),
        ("*: noai", True),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", True),
        ("max-snippet: 5, noindex", True),
        ("googlebot: noai", False),
        ("googlebot: nofollow, noai", False),
        ("googlebot: nofollow, taca: noai", True),
        ("nofollow", False),
        ("noarchive, nosnippet", False),
        ("noaim", False),
        ("none of it", False),
        ("", False),
    ],
)
def test_robots_tags_are_read_as_they_are_written(value, forbids):
    found = opt_out(CIMultiDictProxy(CIMultiDict([("x-robots-tag", value)])))
    assert found == (f"X-Robots-Tag: {value}" if forbids else None)


def test_each_of_several_robots_tags_counts():
    headers = CIMultiDict([("X-Robots-Tag", "googlebot: nofollow"), ("X-Robots-Tag", "noai")])
    assert opt_out(CIMultiDictProxy(headers)) == "X-Robots-Tag: noai"


@pytest.mark.parametrize(("value", "forbids"), [("1", True), (" 1 ", True), ("0", False), ("", False)])
def test_a_reservation_of_mining_is_one(value, forbids):
    assert bool(opt_out(CIMultiDictProxy(CIMultiDict([("TDM-Reservation", value)])))) is forbids
