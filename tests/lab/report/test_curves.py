"""Effects against threshold and guidance: which arms make a line, and what they are compared with."""

from pathlib import Path

import pytest

from lab.report.curves import curves, papers_threshold, write_curves

BASE = {"threshold": 970.0, "guidance": 1.0, "adapter": "none", "rank": 0}
PLAIN = {"method": "plain", "gamma": 1.0, **BASE}
TACA = {"method": "taca", "gamma": 1.2, **BASE}


def test_arms_that_differ_in_the_threshold_alone_make_a_line_of_differences_to_the_plain_one(results):
    settings = {"baseline": PLAIN, "taca-free": {**TACA, "threshold": 800.0}, "taca-r16": TACA}
    found = curves(results, settings, "threshold")
    assert list(found) == ["taca, gamma 1.2"]
    points = found["taca, gamma 1.2"]
    assert [point.at for point in points] == [800.0, 970.0]
    arms = {arm.name: arm for arm in results.arms}
    for point, name in zip(points, ("taca-free", "taca-r16"), strict=True):
        means = [results.of(arms[name], category).difference.mean for category in results.categories]
        assert point.effect.mean == pytest.approx(sum(means) / len(means))
    assert points[1].effect.low > 0.05, "the gain of the third arm is .1"
    assert curves(results, settings, "guidance") == {}


def test_an_effect_of_guidance_is_that_over_the_plain_arm_at_the_same_guidance(results):
    settings = {"baseline": PLAIN, "taca-free": TACA, "taca-r16": {**TACA, "guidance": 3.0}}
    assert curves(results, settings, "guidance") == {}, "one of the two has no partner"


def test_figures_are_the_same_bytes_and_left_out_where_nothing_varies(results, tmp_path):
    settings = {"baseline": PLAIN, "taca-free": {**TACA, "threshold": 800.0}, "taca-r16": TACA}
    (path,) = write_curves(results, settings, lambda: 801.65, tmp_path).values()
    first = path.read_bytes()
    write_curves(results, settings, lambda: 801.65, tmp_path)
    assert path.name == "by-threshold.svg"
    assert path.read_bytes() == first
    assert write_curves(results, dict.fromkeys(settings, TACA), lambda: 1 / 0, tmp_path) == {}


def test_970_is_801_65_for_the_built_in_base():
    base = Path(__file__).parents[3] / "models" / "base" / "builtin"
    assert papers_threshold(base, None, None) == pytest.approx(801.65, abs=0.01)
