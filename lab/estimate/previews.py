"""What preview images take, drawn with the transformer that is trained."""

import torch
from torch import nn

from lab.estimate.base import Base
from lab.estimate.meter import Meter
from lab.estimate.one_step import one_step
from lab.params.sections import Adapter, Preview
from lab.training.preview import ADAPTER, embeddings, needs_empty_caption
from taca.hooks import TacaConfig, taca

Tensors = dict[str, torch.Tensor]


def preview(
    base: Base,
    settings: Preview,
    transformer: nn.Module,
    vae: nn.Module,
    adapter: Adapter,
    encoded: Tensors,
    mixed: bool,
    meter: Meter,
) -> int:
    """Operations of one set of images; run it under `meter`, where kernels are chosen.

    Args:
        encoded: as `lab.estimate.work.encode` gives it.
        mixed: whether autocast brings tensors to one precision.
    """
    pipe = base.pipeline(transformer=transformer, vae=vae)
    sample = {key: value[:1] for key, value in encoded.items()}
    empty = {key: value[0] for key, value in encoded.items()}
    guided = needs_empty_caption(base.family, settings.guidance)
    call = embeddings(sample, empty if guided else None, torch.device("meta"), None if mixed else torch.float32)
    height, width = (side * pipe.vae_scale_factor for side in encoded["latents"].shape[-2:])
    with torch.no_grad(), taca(pipe, TacaConfig(gamma=adapter.gamma, threshold=0.0, adapter=ADAPTER)):
        step, rest = one_step(pipe, meter, **call, height=height, width=width, guidance_scale=settings.guidance)
    return settings.images * (settings.num_inference_steps * step + rest)
