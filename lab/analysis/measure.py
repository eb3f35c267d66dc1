"""Everything that the figures show, from one base and its prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path

import torch
from PIL import Image

from compbench.scorers.clip import ClipScorer
from compbench.scorers.interface import Prompt
from lab.analysis.attention import Observed
from lab.analysis.drawing import Images, Studio
from lab.generation.load import free_memory
from taca.hooks import TacaConfig, by_method, taca
from taca.steps import active_steps

SHOWN = 2  # prompts of which images are shown
BASELINE, TACA, ADAPTER = "baseline", "training-free", "with LoRA"


@dataclass(frozen=True)
class Choice:
    """What is looked at.

    Attributes:
        gamma, threshold: of TACA in the figures that compare it with the baseline.
        gammas, thresholds: of the images that are shown; attention is measured under the same gammas.
        lora: the folder of the adapter that is used with `gamma` and `threshold`; None: no such arm.
    """

    gamma: float
    threshold: float
    gammas: tuple[float, ...]
    thresholds: tuple[float, ...]
    lora: Path | None


@dataclass
class Analysis:
    """What was measured.

    Attributes:
        images: what was drawn, the first `SHOWN` of which are shown.
        acting: by threshold, the steps from which TACA acts: 0 up to this number.
        magnitudes: by (step, layer), the magnitudes of the text's attention on the baseline's way: at gamma 1, at
            each of the choice's gammas, and normalised over the text alone.
        maps: by arm, the text's share of each image token's attention in each step, (steps, samples, N_vis).
        grid: the image tokens' (rows, columns).
        similarities: by arm, CLIP similarity of prediction and prompt, [step][image].
        predictions: by (gamma, threshold) what is predicted for the shown images, [step][image]; of other thresholds
            than the choice's in the last step alone.
    """

    images: Images
    acting: dict[float, int]
    magnitudes: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    maps: dict[str, torch.Tensor] = field(default_factory=dict)
    grid: tuple[int, int] = (0, 0)
    similarities: dict[str, list[list[float]]] = field(default_factory=dict)
    predictions: dict[tuple[float, float], list[list[Image.Image]]] = field(default_factory=dict)


def measure(studio: Studio, images: Images, choice: Choice, clip: ClipScorer) -> Analysis:
    """Draws `images` by the baseline, by TACA, and with the adapter, and looks at attention and predictions.

    Args:
        clip: by which predictions are compared with their prompts.
    """
    with studio.stock() as pipe:
        analysis = Analysis(images, {each: _acting(studio, pipe, each) for each in _thresholds(choice)})
        for arm, others, gamma in ((BASELINE, choice.gammas, 1.0), (TACA, (), choice.gamma)):
            _observe(studio, pipe, analysis, clip, arm, others, gamma, range(analysis.acting[choice.threshold]))
        height, width = studio.size(pipe)
        side = (height * width / analysis.maps[BASELINE].shape[-1]) ** 0.5
        analysis.grid = round(height / side), round(width / side)
        for gamma, threshold in [(1.0, choice.threshold), *product(choice.gammas, _thresholds(choice))]:
            with taca(pipe, TacaConfig(gamma=gamma, threshold=threshold)):
                steps = studio.predictions(pipe, images[:SHOWN])
            # Of other thresholds the end alone is shown.
            wanted = steps if threshold == choice.threshold else steps[-1:]
            analysis.predictions[gamma, threshold] = [studio.seen(pipe, step) for step in wanted]
    del pipe
    free_memory()
    if choice.lora is not None:
        with studio.with_adapter(choice.lora, choice.gamma, choice.threshold) as pipe:
            found = [
                _similar(studio, pipe, clip, batch, studio.predictions(pipe, batch)) for batch in studio.batches(images)
            ]
            analysis.similarities[ADAPTER] = _joined(found)
    return analysis


def _thresholds(choice: Choice) -> list[float]:
    """Of all images, highest first."""
    return sorted({choice.threshold, *choice.thresholds}, reverse=True)


def _acting(studio: Studio, pipe, threshold: float) -> int:
    return len(active_steps(pipe, studio.sampling.num_inference_steps, *studio.size(pipe), threshold=threshold))


def _observe(
    studio: Studio,
    pipe,
    analysis: Analysis,
    clip: ClipScorer,
    arm: str,
    others: Sequence[float],
    gamma: float,
    acting: range,
) -> None:
    """Draws the images by gamma in some steps, with attention measured in all."""
    maps, similar, weighted = [], [], {}
    for batch in studio.batches(analysis.images):
        watching = Observed(len(batch), others, gamma, acting)
        with by_method(pipe, watching, threshold=0.0):
            latents = studio.predictions(pipe, batch)
        similar.append(_similar(studio, pipe, clip, batch, latents))
        maps.append(torch.stack(list(watching.maps.values())))
        for place, values in watching.magnitudes.items():
            share = torch.tensor(values) * len(batch) / len(analysis.images)
            weighted[place] = weighted.get(place, 0) + share
    analysis.maps[arm], analysis.similarities[arm] = torch.cat(maps, dim=1), _joined(similar)
    if arm == BASELINE:
        analysis.magnitudes = {place: values.tolist() for place, values in weighted.items()}


def _similar(studio: Studio, pipe, clip: ClipScorer, batch: Images, latents: list[torch.Tensor]) -> list[list[float]]:
    prompts = [Prompt(image.prompt_index, image.prompt, image.category) for image in batch]
    return [clip.score(studio.seen(pipe, step), prompts) for step in latents]


def _joined(batches: list[list[list]]) -> list[list]:
    """[batch][step][image] to [step][image]."""
    return [list(chain(*step)) for step in zip(*batches, strict=True)]
