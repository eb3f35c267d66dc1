"""The guide's costs are those of the estimate, as docs/estimate.md has it from the program."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
PROFILES = ("sd35-medium", "flux-dev")


def rows(text: str) -> list[list[str]]:
    """The cells of the lines of a Markdown table."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def estimated(profile: str) -> dict[str, dict[str, str]]:
    """By stage: what each column of the profile's table says."""
    section = re.search(rf"## `{profile}`\n(.*?)(?=\n## |\Z)", (DOCS / "estimate.md").read_text(), re.DOTALL)[1]
    header, _, *lines = rows(section)
    return {line[0]: dict(zip(header, line, strict=True)) for line in lines}


def summed(stages: list[dict[str, str]]) -> list[str]:
    """Largest memory, hours and disk of some stages, as the guide writes them."""
    peaks = [stage["peak GPU memory, GiB"] for stage in stages]
    hours = [stage["H100 80 GB, hours"] for stage in stages]
    disk = sum(float(stage["disk, GB"].split(" + ")[0]) for stage in stages)
    return [max(peaks, key=lambda peak: float(peak or 0)), _sum_of_hours(hours), f"{disk:.1f}"]


def _sum_of_hours(hours: list[str]) -> str:
    if not all(re.fullmatch(r"~?[\d.]+", value) for value in hours):
        return "" if not any(hours) else hours[0]
    return f"{'~' if any('~' in value for value in hours) else ''}{sum(float(v.lstrip('~')) for v in hours):.1f}"


@pytest.mark.parametrize("place", [0, 1])
def test_each_steps_cost_is_the_estimates(place):
    section = (DOCS / "paper.md").read_text().partition("## What each step takes")[2].partition("\n## ")[0]
    estimate, (_, _, *lines) = estimated(PROFILES[place]), rows(section)
    assert len(lines) == 5
    for line in lines:
        stages = [estimate[name] for name in re.findall(r"`([^`]+)`", line[1])]
        assert line[2 + 3 * place : 5 + 3 * place] == summed(stages), line[1]
    price = re.match(r"[\d.]+", estimate["price"]["H100 80 GB, hours"])[0]
    assert re.search(rf"{price}\s+USD \(`{PROFILES[place]}`\)", section)
