"""Effects against a setting: how a method's gain over the plain arm changes with its threshold or with guidance."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from compbench.statistics import Interval
from lab.plots import COLORS, GREY, STYLE, save_svg
from lab.report.contrasts import ask
from lab.report.questions import Question
from lab.report.results import Results

RESAMPLES, SEED = 2000, 0
PLAIN = "plain"  # the method of arms without gamma, as `lab.params.settings` calls it

Settings = Mapping[str, Mapping[str, object]]
"""By arm, what makes it: at least its method, gamma, threshold, guidance and adapter."""


@dataclass(frozen=True)
class Point:
    """One arm's effect at one value of the setting."""

    at: float
    effect: Interval


def curves(results: Results, settings: Settings, axis: str) -> dict[str, list[Point]]:
    """Effects of the arms that differ in `axis` alone, by what they have in common; series of two values and more.

    An effect is the difference to the plain arm without an adapter at the same guidance, on the same prompts and
    averaged over the categories; arms without such a partner have none.
    """
    series: dict[tuple, dict[float, str]] = defaultdict(dict)
    for arm in results.arms:
        own = settings[arm.name]
        if not _is_plain(own):
            rest = tuple((key, str(value)) for key, value in own.items() if key != axis)
            series[rest][float(own[axis])] = arm.name
    partners = {settings[arm.name]["guidance"]: arm.name for arm in results.arms if _is_plain(settings[arm.name])}
    wanted = [members for members in series.values() if len(members) > 1]
    found = {}
    for members in wanted:
        points = [
            Point(at, _effect(results, name, partners[settings[name]["guidance"]]))
            for at, name in sorted(members.items())
            if settings[name]["guidance"] in partners
        ]
        if len(points) > 1:
            found[_label(settings[next(iter(members.values()))], axis)] = points
    return found


def curves_figure(found: Mapping[str, Sequence[Point]], label: str, marked: float | None, path: Path) -> None:
    """Effects with 95 % intervals, a line for each series; `marked`: the setting that the paper's corresponds to."""
    with style.context(STYLE):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0, color=GREY, linewidth=0.8)
        if marked is not None:
            axes.axvline(marked, color=GREY, linewidth=0.8, linestyle=":", label=f"970 at 4,096 tokens: {marked:.5g}")
        for (name, points), color in zip(found.items(), COLORS * len(found), strict=False):
            places, effects = [point.at for point in points], [point.effect for point in points]
            axes.vlines(places, [e.low for e in effects], [e.high for e in effects], color=color, linewidth=1.4)
            axes.plot(places, [e.mean for e in effects], "o-", color=color, markersize=4, linewidth=1, label=name)
        axes.set(xlabel=label, ylabel="difference to plain (95 %)")
        figure.legend(loc="outside upper center", ncols=3)
        save_svg(figure, path)


def write_curves(results: Results, settings: Settings, marked: Callable[[], float], folder: Path) -> dict[str, Path]:
    """Writes by-threshold.svg and by-guidance.svg, each where arms differ in it; the figures by name.

    Args:
        marked: gives the threshold that stands for 970 at 4,096 tokens; called if there is an axis to mark it on.
    """
    found = {}
    for axis in ("threshold", "guidance"):
        series = curves(results, settings, axis)
        if series:
            found[axis] = folder / f"by-{axis}.svg"
            curves_figure(series, axis, marked() if axis == "threshold" else None, found[axis])
    return found


def papers_threshold(base: Path, height: int | None, width: int | None) -> float:
    """What 970 at 4,096 tokens is for a base's pictures of this size in pixels; None is its own."""
    from lab.generation.threshold import threshold_for

    return threshold_for(base, 970.0, 4096, height, width)


def _is_plain(settings: Mapping[str, object]) -> bool:
    return settings["method"] == PLAIN and settings.get("rank") == 0 and "guider" not in settings


def _effect(results: Results, arm: str, partner: str) -> Interval:
    question = Question(arm, {arm: 1.0, partner: -1.0}, primary=False)
    return ask([question], results, RESAMPLES, SEED).answers[0].interval


def _label(settings: Mapping[str, object], axis: str) -> str:
    """The method and what else of it is not common to all."""
    parts = [str(settings["method"])]
    if settings["gamma"] != 1:
        parts.append(f"gamma {settings['gamma']:g}")
    if axis != "threshold":
        parts.append(f"t ≥ {settings['threshold']:g}")
    if settings.get("rank") != 0:
        parts.append(str(settings["adapter"]))
    return ", ".join(parts)
