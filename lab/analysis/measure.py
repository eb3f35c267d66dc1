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
from lab.analysis.doses import Dose, doses
from lab.analysis.drawing import Images, Studio
from lab.generation.load import free_memory
from taca.hooks import TacaConfig, by_method, taca
from taca.steps import active_steps

SHOWN = 2  # prompts of which images are shown
DOSED = 4  # prompts by which methods are measured
BASELINE, TACA, ADAPTER = "baseline", "training-free", "with LoRA"


@dataclass(frozen=True)
class Choice:
    """What is looked at.

    Attributes:
        gamma, threshold: of TACA in the figures that compare it with the baseline.
        gammas, thresholds: of the images that are shown; attention is measured under the same gammas.
        lora: the folder of the adapter that is used with `gamma` and `threshold`; None: no such arm.
        methods: what is measured in the way of logits and attention, as `doses` takes it.
    """

    gamma: float
    threshold: float
    gammas: tuple[float, ...]
    thresholds: tuple[float, ...]
    lora: Path | None
    methods: tuple[object, ...] = ()


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
        doses: what each of the choice's methods does.
    """

    images: Images
    acting: dict[float, int]
    magnitudes: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    maps: dict[str, torch.Tensor] = field(default_factory=dict)
    grid: tuple[int, int] = (0, 0)
    similarities: dict[str, list[list[float]]] = field(default_factory=dict)
    predictions: dict[tuple[float, float], list[list[Image.Image]]] = field(default_factory=dict)
    doses: list[Dose] = field(default_factory=list)


def measure(studio: Studio, images: Images, choice: Choice, clip: ClipScorer) -> Analysis:
    """Draws `images` by the baseline, by TACA, and with the adapter, and looks at attention and predictions.

    Args:
        clip: by which predictions are compared with their prompts.
    """
    with studio.stock() as pipe:
        analysis = Analysis(images, {each: _acting(studio, pipe, each) for each in _thresholds(choice)})
        for arm, others, gamma in ((BASELINE, choice.gammas, 1.0), (TACA, (), choice.gamma)):
            seen = _observe(studio, pipe, analysis, clip, arm, others, gamma, range(analysis.acting[choice.threshold]))
            analysis.predictions[gamma, choice.threshold] = seen
        height, width = studio.size(pipe)
        side = (height * width / analysis.maps[BASELINE].shape[-1]) ** 0.5
        analysis.grid = round(height / side), round(width / side)
        for gamma, threshold in product(choice.gammas, _thresholds(choice)):
            if (gamma, threshold) in analysis.predictions:
                continue  # seen already, where attention was measured
            with taca(pipe, TacaConfig(gamma=gamma, threshold=threshold)):
                steps = studio.predictions(pipe, images[:SHOWN])
            # Of other thresholds the end alone is shown.
            wanted = steps if threshold == choice.threshold else steps[-1:]
            analysis.predictions[gamma, threshold] = [studio.seen(pipe, step) for step in wanted]
        analysis.doses = doses(studio, pipe, images[:DOSED], choice.methods)
    del pipe
    free_memory()
    if choice.lora is not None:
        with studio.with_adapter(choice.lora, choice.gamma, choice.threshold) as pipe:
            found = []
            for batch in studio.batches(images):
                seen = [studio.seen(pipe, step) for step in studio.predictions(pipe, batch)]
                found.append(_similar(clip, batch, seen))
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
) -> list[list[Image.Image]]:
    """Draws the images by gamma in some steps, with attention measured in all.

    Returns:
        What is predicted for the shown images, [step][image].
    """
    maps, similar, shown, weighted = [], [], [], {}
    for batch in studio.batches(analysis.images):
        watching = Observed(len(batch), others, gamma, acting)
        with by_method(pipe, watching, threshold=0.0):
            latents = studio.predictions(pipe, batch)
        seen = [studio.seen(pipe, step) for step in latents]
        similar.append(_similar(clip, batch, seen))
        left = max(0, SHOWN - sum(len(one[0]) for one in shown))
        shown.append([images[:left] for images in seen])
        maps.append(torch.stack(list(watching.maps.values())))
        for place, values in watching.magnitudes.items():
            share = torch.tensor(values) * len(batch) / len(analysis.images)
            weighted[place] = weighted.get(place, 0) + share
    analysis.maps[arm], analysis.similarities[arm] = torch.cat(maps, dim=1), _joined(similar)
    if arm == BASELINE:
        analysis.magnitudes = {place: values.tolist() for place, values in weighted.items()}
    return _joined(shown)


def _similar(clip: ClipScorer, batch: Images, seen: list[list[Image.Image]]) -> list[list[float]]:
    prompts = [Prompt(image.prompt_index, image.prompt, image.category) for image in batch]
    return [clip.score(images, prompts) for images in seen]


def _joined(batches: list[list[list]]) -> list[list]:
    """[batch][step][image] to [step][image]."""
    return [list(chain(*step)) for step in zip(*batches, strict=True)]
