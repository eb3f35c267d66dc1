"""What a stage's work takes: its own functions, run once on the meta device under a meter."""

from dataclasses import dataclass
from itertools import chain

import torch
from PIL import Image
from torch import nn

from lab.data.crops import sizes_for
from lab.data.encode import encode_images
from lab.data.encoded import KEYS
from lab.estimate.base import Base
from lab.estimate.kernels import Kernels
from lab.estimate.meter import Meter
from lab.estimate.previews import preview
from lab.estimate.text import text_parts
from lab.params.sections import Adapter, Encode, Train
from lab.training.frozen import recompute_blocks
from lab.training.lora import add_lora, keep_inputs
from lab.training.loss import velocity_loss
from lab.training.preview import autoencoder_dtype
from taca.hooks import TacaConfig, taca

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Usage:
    """Of one pass of a stage: the most bytes alive on the GPU, and floating-point operations."""

    peak: int
    flops: int


def held(*modules: object) -> Meter:
    """A meter that counts these modules' weights; what is no module counts nothing."""
    meter = Meter()
    for module in modules:
        if isinstance(module, nn.Module):
            meter.hold(chain(module.parameters(), module.buffers()))
    return meter


def encode(base: Base, settings: Encode) -> tuple[Usage, Tensors]:
    """A batch of images and captions, and what stage `encode` writes of it."""
    family, dtype = base.family, getattr(torch, settings.dtype)
    sizes = sizes_for(family, base.config("vae"), settings.resolution, settings.aspects)
    largest = max(sizes, key=lambda size: size.height * size.width)
    parts = text_parts(base, dtype) | {"vae": base.build("vae", torch.float32)}
    pipe = base.pipeline(**parts)
    images = [Image.new("RGB", (largest.width, largest.height))] * settings.batch_size
    with held(*parts.values()) as meter, Kernels():
        latents = {"latents": encode_images(pipe, images, largest)}
        encoded = latents | family.embed(pipe, [""] * settings.batch_size, settings.max_sequence_length)
    return Usage(meter.peak, meter.flops), encoded


@dataclass(frozen=True)
class Training:
    """A step of the optimizer with all its passes, the forward pass of a held-out batch, and the adapter's numbers.

    Attributes:
        peak: the most bytes alive at once, previews included.
        preview_flops: operations of a set of preview images.
    """

    step: Usage
    held_out: Usage
    parameters: int
    peak: int
    preview_flops: int


def train(base: Base, settings: Train, adapter: Adapter, encoded: Tensors, device: str = "cuda") -> Training:
    """The second step, when the optimizer has its moments.

    Args:
        encoded: as `encode` gives it.
        device: as in `Kernels`.
    """
    transformer = base.transformer(settings.precision)
    parameters = add_lora(transformer, adapter.rank, adapter.alpha, settings.targets, settings.seed)
    recompute_blocks(transformer, settings.gradient_checkpointing)
    mixed = settings.mixed_precision == "bf16"
    if mixed:
        keep_inputs(transformer)
    batch = {key: _rows(encoded[key], settings.batch_size, None if mixed else torch.float32) for key in KEYS}
    noise, timestep = torch.empty_like(batch["latents"]), torch.empty(settings.batch_size, device="meta")
    guidance = base.family.guidance(settings.guidance)
    kernels, meter = Kernels(torch.bfloat16 if mixed else None, device), held(transformer)
    # AdamW's moments, two for each parameter. Its fused kernel makes nothing besides.
    moments = [torch.empty_like(parameter) for parameter in parameters for _ in range(2)]
    meter.hold([*moments, *batch.values(), noise, timestep])
    if settings.preview is not None:
        vae = base.build("vae", autoencoder_dtype(encoded["prompt_embeds"].dtype, settings.mixed_precision))
        meter.hold(chain(vae.parameters(), vae.buffers()))

    with taca(transformer, TacaConfig(gamma=adapter.gamma, threshold=0.0)), kernels, meter:
        with torch.no_grad():
            velocity_loss(transformer, base.family, batch, noise, timestep, guidance)
        held_out = Usage(meter.peak, meter.flops)
        # A pass after the first finds gradients there.
        passes = min(2, settings.gradient_accumulation)
        for _ in range(passes):
            kernels.backward(velocity_loss(transformer, base.family, batch, noise, timestep, guidance))
    flops = (meter.flops - held_out.flops) // passes * settings.gradient_accumulation
    step, drawn = Usage(meter.peak, flops), 0
    if settings.preview is not None:
        for parameter in parameters:
            parameter.grad = None
        with kernels, meter:
            drawn = preview(base, settings.preview, transformer, vae, adapter, encoded, mixed, meter)
    return Training(step, held_out, sum(parameter.numel() for parameter in parameters), meter.peak, drawn)


def _rows(tensor: torch.Tensor, count: int, dtype: torch.dtype | None) -> torch.Tensor:
    """As many samples as a batch has, in `dtype` or their own."""
    return torch.empty(count, *tensor.shape[1:], dtype=dtype or tensor.dtype, device="meta")
