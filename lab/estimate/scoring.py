"""What the published scorers take: their weights, and a batch through what is most of each.

Counted whole are BLIP's two encoders and its decoder, and CLIP. Of UniDet it is backbone and pyramid: how many boxes go
through its heads depends on the image. Of DPT, MUSIQ and MANIQA it is the weights alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from compbench.scorers.blip.config import BlipConfig
from compbench.scorers.blip.model import BlipVqa
from compbench.scorers.blip.questions import SLOTS
from compbench.scorers.blip.scorer import BATCH
from compbench.scorers.build import questions
from compbench.scorers.depth.network import DptHybrid
from compbench.scorers.quality import build
from compbench.scorers.unidet.detector import BATCH_SIZE
from compbench.scorers.unidet.model import R50, RS200, UniDet, Variant
from lab.estimate.kernels import Kernels
from lab.estimate.work import Usage, held
from lab.params.sections import Score

FRAME = 480  # pixels a side of the benchmark's frame, with UniDet's padding
TOKENS = 12  # of a question: a noun phrase of a few words


@dataclass(frozen=True)
class Scorer:
    """A model and a pass of it.

    Attributes:
        answers: the questions that it is for.
        batch: images of a pass.
        run: the pass; None where the weights alone are counted.
    """

    model: nn.Module
    answers: frozenset[str]
    batch: int = 1
    run: Callable[[], object] | None = None
    autocast: torch.dtype | None = None


@dataclass(frozen=True)
class Scoring:
    """Of an arm: `peak` bytes, operations, and the bytes of the models' weights in float32, as published."""

    peak: int
    flops: int
    weights: int


def score(settings: Score, images: Mapping[str, int]) -> Scoring:
    """All of an arm's images, every model on the GPU at once.

    Args:
        images: how many there are of each category.
    """
    asked = {category: questions(category) for category in images}
    scorers = list(_scorers(settings, {question for found in asked.values() for question in found}))
    weights, activations, flops = held(*(scorer.model for scorer in scorers)).live, 0, 0
    for scorer in scorers:
        shown = sum(images[category] for category, found in asked.items() if scorer.answers & set(found))
        usage = _pass(scorer)
        activations = max(activations, usage.peak)
        flops += usage.flops * shown // scorer.batch
    published = 4 * sum(tensor.numel() for scorer in scorers for tensor in scorer.model.state_dict().values())
    return Scoring(weights + activations, flops, published)


def _pass(scorer: Scorer) -> Usage:
    """A pass by itself, without the weights."""
    meter = held(scorer.model)
    weights = meter.live
    if scorer.run is not None:
        with torch.no_grad(), meter, Kernels(scorer.autocast):
            scorer.run()
    return Usage(meter.peak - weights, meter.flops)


def _scorers(settings: Score, asked: set[str]) -> Iterator[Scorer]:
    mixed = torch.float16 if settings.dtype == "float16" else None
    if settings.attribute == "blip-vqa" and "attribute" in asked:
        yield _blip()
    if settings.spatial == "unidet":
        if "spatial" in asked:
            yield _unidet(RS200, {"spatial"}, mixed)
        if asked & {"spatial_3d", "numeracy"}:
            yield _unidet(R50, {"spatial_3d", "numeracy"}, mixed)
        if "spatial_3d" in asked:
            yield Scorer(_on_meta(DptHybrid), frozenset({"spatial_3d"}))
    if settings.clip == "openai" and "clip" in asked:
        yield _clip(settings.batch_size, mixed or torch.float32)
    for metric in settings.quality:
        yield Scorer(_on_meta(lambda metric=metric: build(metric)), frozenset())


def _on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make().eval()


def _blip() -> Scorer:
    config = BlipConfig()
    model = _on_meta(lambda: BlipVqa(config))
    count = BATCH * SLOTS

    def run() -> None:
        pixels = torch.empty(BATCH, 3, config.image_size, config.image_size, device="meta")
        states = model.visual_encoder(pixels).repeat_interleave(SLOTS, dim=0)
        ids = torch.zeros(count, TOKENS, dtype=torch.long, device="meta")
        model.yes_probability(states, ids, torch.ones(count, TOKENS, dtype=torch.bool, device="meta"))

    return Scorer(model, frozenset({"attribute"}), BATCH, run)


def _unidet(variant: Variant, answers: set[str], mixed: torch.dtype | None) -> Scorer:
    model = _on_meta(lambda: UniDet(variant))
    pixels = torch.empty(BATCH_SIZE, 3, FRAME, FRAME, device="meta")
    return Scorer(model, frozenset(answers), BATCH_SIZE, lambda: model.backbone(pixels), mixed)


def _clip(batch_size: int, dtype: torch.dtype) -> Scorer:
    import open_clip

    model = _on_meta(lambda: open_clip.CLIP(**open_clip.get_model_config("ViT-B-32-quickgelu"))).to(dtype)
    side = model.visual.image_size[0]

    def run() -> None:
        model.encode_image(torch.empty(batch_size, 3, side, side, dtype=dtype, device="meta"))
        model.encode_text(torch.zeros(batch_size, model.context_length, dtype=torch.long, device="meta"))

    return Scorer(model, frozenset({"clip"}), batch_size, run)
