"""The analysis as figures; the same numbers give the same bytes."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compbench.statistics import paired_difference
from lab.analysis.measure import BASELINE, TACA, Analysis
from lab.plots import COLORS, GREY, STYLE, save_svg

DEPTHS = 4  # layers that have a panel
FIRST_STEPS = 5  # of which attention maps are shown
RESAMPLES = 2000
RANGE = 99  # percentile of the differences at which the colours end


def attention_figure(analysis: Analysis, gammas: Sequence[float], threshold: float, path: Path) -> None:
    """Fig. 4: magnitude of the attention to the text by step, a panel for each of some layers."""
    layers = 1 + max(layer for _, layer in analysis.magnitudes)
    steps = 1 + max(step for step, _ in analysis.magnitudes)
    shown = sorted({round(place) for place in np.linspace(0, layers - 1, DEPTHS)})
    with style.context(STYLE):
        figure = Figure(figsize=(8, 2.8), layout="constrained")
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, layer in zip(panels, shown, strict=True):
            curves = np.array([analysis.magnitudes[step, layer] for step in range(steps)]).T
            for curve, (name, options) in zip(curves, _kinds(gammas).items(), strict=True):
                axes.plot(range(1, steps + 1), curve, label=name, linewidth=1.4, **options)
            _mark(axes, analysis.acting[threshold], steps)
            axes.set(title=f"layer {layer + 1} of {layers}", xlabel="step", yscale="log")
            axes.title.set_fontsize(9)
        panels[0].set_ylabel("magnitude of attention to text")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(gammas) + 2)
        save_svg(figure, path)


def difference_figure(analysis: Analysis, prompts: Sequence[str], path: Path) -> None:
    """Fig. 6: the text's share of each image token's attention, TACA minus baseline, in the first steps."""
    maps = [analysis.maps[arm][:FIRST_STEPS, : len(prompts)].float() for arm in (TACA, BASELINE)]
    found = (maps[0] - maps[1]).unflatten(-1, analysis.grid).numpy()
    bound = float(np.percentile(np.abs(found), RANGE)) or 1.0
    with style.context(STYLE):
        figure = Figure(figsize=(8, 1.9 * len(prompts)), layout="constrained")
        panels = figure.subplots(len(prompts), len(found), squeeze=False)
        for row, prompt in enumerate(prompts):
            for step, axes in enumerate(panels[row]):
                drawn = axes.imshow(found[step, row], cmap="RdBu_r", vmin=-bound, vmax=bound)
                axes.set(xticks=[], yticks=[], title=f"step {step + 1}" if row == 0 else "")
                axes.title.set_fontsize(9)
            panels[row][0].set_ylabel(_wrapped(prompt), fontsize=7)
        figure.colorbar(drawn, ax=panels, label="difference of share", shrink=0.9)
        save_svg(figure, path)


def similarity_figure(analysis: Analysis, threshold: float, path: Path) -> None:
    """Fig. 8b: CLIP similarity of prediction and prompt by step and arm, and paired differences to the baseline."""
    with style.context(STYLE):
        figure = Figure(figsize=(8, 3), layout="constrained")
        levels, differences = figure.subplots(1, 2)
        colors = {
            BASELINE: GREY,
            **dict(zip([a for a in analysis.similarities if a != BASELINE], COLORS, strict=False)),
        }
        for arm, found in analysis.similarities.items():
            steps = range(1, len(found) + 1)
            levels.plot(steps, np.mean(found, axis=1), color=colors[arm], linewidth=1.4, label=arm)
            if arm != BASELINE:
                rows = similarity_differences(analysis, arm)
                differences.plot(steps, [row[0] for row in rows], color=colors[arm], linewidth=1.4)
                bounds = [row[1] for row in rows], [row[2] for row in rows]
                differences.fill_between(steps, *bounds, color=colors[arm], alpha=0.2, linewidth=0)
        differences.axhline(0, color=GREY, linewidth=0.8)
        for axes in (levels, differences):
            _mark(axes, analysis.acting[threshold], len(steps))
            axes.set_xlabel("step")
        levels.set_ylabel("CLIP similarity")
        differences.set_ylabel("difference to the baseline (95 %)")
        figure.legend(loc="outside upper center", ncols=len(colors))
        save_svg(figure, path)


def similarity_differences(analysis: Analysis, arm: str) -> list[tuple[float, float, float]]:
    """By step the mean of the paired differences to the baseline, and its 95 % interval over prompts."""
    pairs = zip(analysis.similarities[arm], analysis.similarities[BASELINE], strict=True)
    found = [paired_difference(dict(enumerate(own)), dict(enumerate(base)), RESAMPLES) for own, base in pairs]
    return [(each.mean, each.low, each.high) for each in found]


def _kinds(gammas: Sequence[float]) -> Mapping[str, dict]:
    """Names and looks of the curves, in the order of `Analysis.magnitudes`."""
    return {
        "full attention": {"color": GREY},
        **{f"gamma {gamma:g}": {"color": COLORS[i % len(COLORS)]} for i, gamma in enumerate(gammas)},
        "text alone": {"color": "black", "linestyle": "--"},
    }


def _mark(axes: Axes, acting: int, steps: int) -> None:
    """A line after the last step in which TACA acts."""
    if acting < steps:
        axes.axvline(acting + 0.5, color=GREY, linewidth=0.8, linestyle=":")


def _wrapped(prompt: str, width: int = 24, lines: int = 3) -> str:
    return "\n".join(textwrap.wrap(prompt, width, max_lines=lines, placeholder=" …"))
