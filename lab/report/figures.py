"""The report's figures as SVG files; the same results give the same bytes."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compbench.statistics import Interval
from lab.plots import COLORS, GREY, STYLE, save_svg
from lab.report.results import Arm, Results
from lab.report.words import CATEGORY_NAMES


def arm_colors(results: Results) -> dict[str, str]:
    """A colour for each arm, the same in all figures."""
    colors = {arm.name: COLORS[i % len(COLORS)] for i, arm in enumerate(results.compared)}
    return {results.baseline.name: GREY, **colors}


def means_figure(results: Results, path: Path) -> None:
    """Mean and 95 % interval of each arm in each category."""
    with style.context(STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axes = figure.subplots()
        colors, step = arm_colors(results), 0.8 / len(results.arms)
        for i, arm in enumerate(results.arms):
            found = [results.of(arm, category).mean for category in results.categories]
            places = [j + step * (i - (len(results.arms) - 1) / 2) for j in range(len(found))]
            _points(axes, places, found, colors[arm.name], arm.name)
        axes.set_xticks(range(len(results.categories)), [CATEGORY_NAMES[c] for c in results.categories])
        axes.grid(False, axis="x")
        axes.set_ylabel("score (mean, 95 % interval)")
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        figure.legend(loc="outside upper center", ncols=min(len(results.arms), 5))
        save_svg(figure, path)


def differences_figure(results: Results, path: Path) -> None:
    """Paired difference to the baseline, one panel a category: filled where the interval excludes 0."""
    arms = results.compared
    with style.context(STYLE):
        rows = -(-len(results.categories) // 3)
        figure = Figure(figsize=(8, rows * (0.9 + 0.24 * len(arms))), layout="constrained")
        grid = figure.subplots(rows, 3, sharey=True, squeeze=False)
        colors = arm_colors(results)
        for axes, category in zip(grid.flat, results.categories, strict=False):
            _forest(axes, [(arm, results.of(arm, category).difference) for arm in arms], colors)
            axes.set_title(CATEGORY_NAMES[category], fontsize=9)
        for axes in grid.flat[len(results.categories) :]:
            axes.set_visible(False)
        figure.supxlabel(f"difference to {results.baseline.name} on the same prompts (95 % interval)", fontsize=9)
        save_svg(figure, path)


def loss_figure(histories: Mapping[str, Path], path: Path) -> None:
    """Training loss of each adapter at every step, and its loss on held-out pairs."""
    with style.context(STYLE):
        figure = Figure(figsize=(8, 3), layout="constrained")
        training, held_out = figure.subplots(1, 2)
        for i, (adapter, history) in enumerate(histories.items()):
            color = COLORS[i % len(COLORS)]
            training.plot(*_curve(history, "loss"), color=color, linewidth=1, label=adapter)
            held_out.plot(*_curve(history, "held_out_loss"), color=color, linewidth=1, marker="o", markersize=3)
        training.set(xlabel="step", ylabel="training loss")
        held_out.set(xlabel="step", ylabel="held-out loss")
        figure.legend(loc="outside upper center", ncols=len(histories))
        save_svg(figure, path)


def _points(axes: Axes, places: Sequence[float], found: Sequence[Interval], color: str, label: str) -> None:
    axes.vlines(places, [f.low for f in found], [f.high for f in found], color=color, linewidth=1.6)
    axes.plot(places, [f.mean for f in found], "o", color=color, markersize=4, label=label)


def _forest(axes: Axes, differences: Sequence[tuple[Arm, Interval]], colors: Mapping[str, str]) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8)
    for i, (arm, found) in enumerate(differences):
        color = colors[arm.name]
        fill = color if found.excludes_zero else "white"
        axes.hlines(i, found.low, found.high, color=color, linewidth=1.6)
        axes.plot(found.mean, i, "o", color=color, markerfacecolor=fill, markersize=5)
    axes.set_yticks(range(len(differences)), [arm.name for arm, _ in differences])
    axes.set_ylim(len(differences) - 0.5, -0.5)
    axes.grid(False, axis="y")


def _curve(history: Path, column: str) -> tuple[list[int], list[float]]:
    """Steps and values of one column of a loss history, where it has a value."""
    with history.open(newline="") as lines:
        points = [(int(row["step"]), float(row[column])) for row in csv.DictReader(lines) if row[column]]
    return [step for step, _ in points], [value for _, value in points]
