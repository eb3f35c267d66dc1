"""What is to be reached on one H100-class GPU at 1024 x 1024, beside what a report measured."""

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

GIB = 2**30
PROFILE, FOUR_BITS, FASTEST = "train FLUX, profile", "train FLUX, nf4", "generate"
SIMPLE_TUNER = "train SD3.5, SimpleTuner's configuration"


class Target(NamedTuple):
    """`at_most` is False where `bound` is the least; `measure` gives None where nothing was measured."""

    text: str
    bound: float
    measure: Callable[[dict], float | None]
    at_most: bool = True


def rows_of(report: dict, part: str, **wanted) -> list[dict]:
    """The rows of a part that have these values; of a part that failed, those that it had measured before."""
    rows = report["parts"].get(part, {"rows": []})["rows"]
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def largest(part: str, key: str, unit: float = 1) -> Callable[[dict], float | None]:
    """Of a part's rows, in units."""
    return lambda report: max((row[key] / unit for row in rows_of(report, part) if key in row), default=None)


def seconds(part: str, key: str, **wanted) -> Callable[[dict], float | None]:
    """The median of a row's times."""
    return lambda report: next((median(row[key]) for row in rows_of(report, part, **wanted)), None)


def ratio(part: str, key: str, **wanted) -> Callable[[dict], float | None]:
    """TACA's median over plain's."""

    def measure(report: dict) -> float | None:
        ours, plain = (seconds(part, key, gamma=gamma, **wanted)(report) for gamma in (1.2, 1.0))
        return None if ours is None or plain is None else ours / plain

    return measure


def least_busy(*parts: str) -> Callable[[dict], float | None]:
    """The smallest share among the rows of these parts."""
    return lambda report: min((row["busy"] for part in parts for row in rows_of(report, part)), default=None)


TARGETS = (
    Target(
        "SD3.5-medium LoRA in SimpleTuner's configuration, s a step", 0.53, seconds(SIMPLE_TUNER, "step_s", gamma=1.0)
    ),
    Target("the same, GiB", 35, largest(SIMPLE_TUNER, "peak_bytes", GIB)),
    Target("the same, a step with TACA / plain", 1.03, ratio(SIMPLE_TUNER, "step_s")),
    Target("FLUX.1-dev LoRA of rank 64, batch 4, GB", 80, largest(PROFILE, "peak_bytes", 1e9)),
    Target("the same, a step with TACA / plain", 1.03, ratio(PROFILE, "step_s")),
    Target("FLUX.1-dev LoRA on nf4, batch 1, GB", 24, largest(FOUR_BITS, "peak_bytes", 1e9)),
    Target("FLUX.1-dev, 28 steps, compiled, s an image", 4.5, seconds(FASTEST, "image_s", gamma=1.2, compile=True)),
    Target("the same, TACA / plain", 1.01, ratio(FASTEST, "image_s", compile=True)),
    Target("FLUX.1-dev, 28 steps, eager, TACA / plain", 1.01, ratio(FASTEST, "image_s", compile=False)),
    Target(
        "share of a training step in which the GPU computes, the smallest",
        0.95,
        least_busy(SIMPLE_TUNER, "train SD3.5, profile", PROFILE, FOUR_BITS),
        at_most=False,
    ),
)


def compared(report: dict) -> list[tuple[str, str, str, str]]:
    """For each target: what it is of, its bound, what was measured, and whether that reaches it."""
    lines = []
    for target in TARGETS:
        found = target.measure(report)
        bound = f"{'at most' if target.at_most else 'at least'} {target.bound:g}"
        if found is None:
            lines.append((target.text, bound, "not measured", ""))
        else:
            reached = found <= target.bound if target.at_most else found >= target.bound
            lines.append((target.text, bound, f"{found:.3g}", "yes" if reached else "no"))
    return lines
