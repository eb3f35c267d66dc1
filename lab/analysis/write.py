"""Writes what was measured: figures, the numbers behind them, and what a report says under each."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lab.analysis.acting import KEYS, acting
from lab.analysis.doses import Dose
from lab.analysis.figures import (
    FIRST_STEPS,
    attention_figure,
    difference_figure,
    similarity_differences,
    similarity_figure,
)
from lab.analysis.measure import BASELINE, SHOWN, Analysis, Choice
from lab.analysis.pictures import Row, write_rows

FIGURES = "figures.json"
DOSES, DOSE = "doses.csv", ("steps", "change", "mass", "scale")  # columns of `Dose`
MOST_STEPS = 30  # that have a column of their own
LARGE, SMALL = 128, 56  # pixels of an image's side
TEXT = 200  # pixels for the labels


def write_analysis(folder: Path, analysis: Analysis, choice: Choice) -> None:
    """Writes the figures, `attention.csv`, `similarity.csv`, `doses.csv`, and `figures.json`: each figure's file, title
    and note.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prompts = [image.prompt for image in analysis.images[:SHOWN]]
    _images(analysis, choice, prompts, folder / "gamma.png")
    _steps(analysis, choice, prompts, folder / "steps.png")
    attention_figure(analysis, choice.gammas, choice.threshold, folder / "attention.svg")
    difference_figure(analysis, prompts, folder / "difference.svg")
    similarity_figure(analysis, choice.threshold, folder / "similarity.svg")
    _table(folder / "attention.csv", ("step", "layer", "attention", "magnitude"), _magnitudes(analysis, choice))
    rows = zip(map(acting, choice.methods), analysis.doses, strict=True)
    _table(folder / DOSES, (*KEYS, *DOSE), ((*method.values(), *_dose(dose)) for method, dose in rows))
    columns = ("step", "arm", "similarity", "difference", "low", "high")
    _table(folder / "similarity.csv", columns, _similarities(analysis))
    (folder / FIGURES).write_text(json.dumps(_told(analysis, choice), indent=2) + "\n", encoding="utf-8")


def curves(analysis: Analysis, choice: Choice) -> list[dict[str, float]]:
    """By step what a record keeps: magnitudes, means over layers, and mean similarities."""
    names = _kinds(choice)
    layers = 1 + max(layer for _, layer in analysis.magnitudes)
    found = []
    for step in range(len(analysis.similarities[BASELINE])):
        means = np.mean([analysis.magnitudes[step, layer] for layer in range(layers)], axis=0)
        similar = {f"similarity/{arm}": float(np.mean(of_arm[step])) for arm, of_arm in analysis.similarities.items()}
        found.append({f"attention/{name}": float(mean) for name, mean in zip(names, means, strict=True)} | similar)
    return found


def _kinds(choice: Choice) -> list[str]:
    return ["full", *(f"gamma {gamma:g}" for gamma in choice.gammas), "text alone"]


def _images(analysis: Analysis, choice: Choice, prompts: list[str], path: Path) -> None:
    """Fig. 3 and 5: what is drawn by each gamma from each threshold on."""
    plain = analysis.predictions[1.0, choice.threshold][-1]
    rows = [
        Row(
            f"{prompt}; t ≥ {threshold:g} ({acting} steps)",
            [plain[number], *(analysis.predictions[gamma, threshold][-1][number] for gamma in choice.gammas)],
        )
        for number, prompt in enumerate(prompts)
        for threshold, acting in analysis.acting.items()
    ]
    write_rows(rows, [f"γ = {gamma:g}" for gamma in (1, *choice.gammas)], LARGE, TEXT, path)


def _steps(analysis: Analysis, choice: Choice, prompts: list[str], path: Path) -> None:
    """What is predicted in each step, with the choice's threshold."""
    count = len(analysis.similarities[BASELINE])
    shown = sorted({round(place) for place in np.linspace(0, count - 1, min(count, MOST_STEPS))})
    rows = [
        Row(f"γ = {gamma:g}; {prompt}", [analysis.predictions[gamma, choice.threshold][step][number] for step in shown])
        for number, prompt in enumerate(prompts)
        for gamma in (1.0, *choice.gammas)
    ]
    write_rows(rows, [str(step + 1) for step in shown], SMALL, TEXT, path)


def _magnitudes(analysis: Analysis, choice: Choice) -> Iterator[tuple]:
    for (step, layer), values in sorted(analysis.magnitudes.items()):
        for name, value in zip(_kinds(choice), values, strict=True):
            yield step + 1, layer + 1, name, f"{value:.6g}"


def _similarities(analysis: Analysis) -> Iterator[tuple]:
    for arm, found in analysis.similarities.items():
        differences = [("", "", "")] * len(found)
        if arm != BASELINE:
            differences = [tuple(f"{value:.5f}" for value in row) for row in similarity_differences(analysis, arm)]
        for step, (of_step, difference) in enumerate(zip(found, differences, strict=True)):
            yield step + 1, arm, f"{np.mean(of_step):.5f}", *difference


def _dose(dose: Dose) -> Iterator[str]:
    values = (getattr(dose, name) for name in DOSE)
    return ("" if value is None else f"{value:.6g}" for value in values)


def _table(path: Path, columns: tuple[str, ...], rows: Iterator[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _told(analysis: Analysis, choice: Choice) -> list[dict[str, str]]:
    """What a report says of each figure."""
    count, steps = len(analysis.images), len(analysis.similarities[BASELINE])
    acts = f"gamma {choice.gamma:g} at t ≥ {choice.threshold:g}, {analysis.acting[choice.threshold]} of {steps} steps"
    line = "The dotted line is where TACA stops acting."
    found = {
        "gamma.png": (
            "Images against gamma and threshold (the paper's Fig. 3 and 5)",
            "The same noise in each row, without an adapter; prompts and seeds are the first ones of the arms.",
        ),
        "steps.png": (
            "What is predicted in each step",
            f"x0 = x_t - sigma v in every step of the rows above at t ≥ {choice.threshold:g}, decoded.",
        ),
        "attention.svg": (
            "Attention of image tokens to the text (Fig. 4)",
            f"Mean over heads, image tokens and {count} prompts of the Euclidean norm of the weights that an image "
            "token gives the text, drawn without TACA: every gamma sees the same queries and keys. The paper does not "
            "say how it measures magnitude. “Text alone” is normalised over text tokens, as in cross-attention. "
            f"{line}",
        ),
        "difference.svg": (
            f"Attention maps, TACA minus baseline, in the first {min(FIRST_STEPS, steps)} steps (Fig. 6)",
            f"The text's share of each image token's attention, mean over layers and heads; {acts}.",
        ),
        "similarity.svg": (
            "CLIP similarity of prediction and prompt (Fig. 8b)",
            f"Mean over {count} prompts, and paired differences to the baseline; {acts}. {line}",
        ),
    }
    return [{"file": name, "title": title, "note": note} for name, (title, note) in found.items()]
