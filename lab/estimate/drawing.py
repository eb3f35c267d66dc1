"""What drawing takes: the pipeline itself, for one step and the decoding, on the meta device."""

from dataclasses import dataclass
from itertools import chain

import torch
from peft import LoraConfig
from torch import nn

from lab.estimate.base import Base
from lab.estimate.kernels import Kernels
from lab.estimate.meter import Meter
from lab.estimate.one_step import one_step
from lab.estimate.text import text_parts
from lab.estimate.work import held
from lab.generation.adapter import NAME
from lab.generation.precision import precision_of
from lab.models.blocks import blocks_of
from lab.params.sections import Adapter, Arm, Generate
from taca.hooks import TacaConfig, taca


@dataclass(frozen=True)
class Drawing:
    """A batch of images: `peak` bytes, and operations of one step and of all that is not a step.

    Attributes:
        size: height and width of an image, in pixels.
    """

    peak: int
    step_flops: int
    other_flops: int
    size: tuple[int, int]


def draw(
    base: Base,
    settings: Generate,
    arm: Arm,
    adapter: Adapter | None,
    targets: list[str] | None,
    device: str = "cuda",
) -> Drawing:
    """A batch of an arm's images, in a step in which TACA acts.

    Args:
        adapter: the arm's; None without one.
        targets: the layers that it is for, None for the family's own.
        device: as in `Kernels`.
    """
    dtype = getattr(torch, settings.dtype)
    transformer = base.transformer(precision_of(settings.dtype, settings.quantization))
    if adapter is not None:
        targets = list(base.family.targets if targets is None else targets)
        lora = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, target_modules=targets)
        transformer.add_adapter(lora, adapter_name=NAME)
    vae = base.build("vae", dtype)
    pipe = base.pipeline(transformer=transformer, vae=vae)
    side = base.family.default_size * pipe.vae_scale_factor
    size = settings.height or side, settings.width or side
    early = NAME if adapter is not None and arm.adapter_scope == "early" else None
    config, embeddings = TacaConfig(gamma=arm.gamma, threshold=0.0, adapter=early), _embeddings(base, settings, arm)
    meter = _held(transformer, vae, settings.offload)
    with taca(pipe, config), meter, Kernels(device=device):
        flops = one_step(pipe, meter, **embeddings, height=size[0], width=size[1], guidance_scale=arm.guidance)
    return Drawing(meter.peak, *flops, size)


@dataclass(frozen=True)
class Embedding:
    """A batch of prompts: `peak` bytes, operations, and the bytes of one prompt's embeddings on disk."""

    peak: int
    flops: int
    size: int


def embed(base: Base, settings: Generate) -> Embedding:
    """A batch of prompts through the text encoders, which are alone on the GPU then."""
    parts = text_parts(base, getattr(torch, settings.dtype))
    with held(*parts.values()) as meter, Kernels():
        found = base.family.embed(base.pipeline(**parts), [""] * settings.batch_size, settings.max_sequence_length)
    return Embedding(meter.peak, meter.flops, sum(value.nbytes for value in found.values()) // settings.batch_size)


def _embeddings(base: Base, settings: Generate, arm: Arm) -> dict[str, torch.Tensor]:
    """What `lab.generation.embeddings` calls the pipeline with."""
    parts = text_parts(base, getattr(torch, settings.dtype))
    with Kernels():
        embeddings = base.family.embed(base.pipeline(**parts), [""] * settings.batch_size, settings.max_sequence_length)
    guided = arm.guidance > 1 and base.family.classifier_free
    negative = {f"negative_{key}": torch.empty_like(value) for key, value in embeddings.items()}
    return embeddings | (negative if guided else {})


def _held(transformer: nn.Module, vae: nn.Module, offload: str) -> Meter:
    """Weights on the GPU: with offloaded blocks the two largest of them, one that computes and one that comes."""
    if offload == "none":
        return held(transformer, vae)
    blocks = blocks_of(transformer)
    inside = {id(tensor) for block in blocks for tensor in _weights(block)}
    meter = held(vae)
    meter.hold(tensor for tensor in _weights(transformer) if id(tensor) not in inside)
    for block in sorted(blocks, key=lambda block: sum(tensor.nbytes for tensor in _weights(block)))[-2:]:
        meter.hold(_weights(block))
    return meter


def _weights(module: nn.Module) -> chain:
    return chain(module.parameters(), module.buffers())
