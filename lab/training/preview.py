"""Images of held-out captions while an adapter is trained: what the losses do not show."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from lab.errors import LabError
from lab.models.family import Family
from lab.models.load import load_without_text
from lab.training.batches import Batches, Tensors
from taca.hooks import TacaConfig, taca

ADAPTER = "default"  # the name that peft gives an adapter that is trained


@dataclass(frozen=True)
class PreviewConfig:
    """What is drawn.

    Attributes:
        every: steps from one set of images to the next; the first comes before training.
        images: of a set, one for each of the first held-out samples.
        seed: of the first image; those after it count up, the same in every set.
    """

    every: int
    images: int
    num_inference_steps: int
    guidance: float
    seed: int


class Previews:
    """Draws with the transformer that is trained, as an arm of it would: TACA and adapter from the threshold up.

    The text embeddings are those of encoded samples, so no text encoder is loaded, but the autoencoder is. Random
    numbers come from generators of its own: training goes on as if nothing were drawn.

    Args:
        pipe: the pipeline around the transformer, without text encoders.
        mixed_precision: as in `TrainConfig`.
        empty_caption: as in `Batches`; None where images are not guided by it.
        folder: where images are written, as step-000250-0.png.
        show: is given the path of each.
    """

    def __init__(
        self,
        pipe,
        batches: Batches,
        config: PreviewConfig,
        taca_config: TacaConfig,
        mixed_precision: str,
        empty_caption: Tensors | None,
        folder: Path,
        show: Callable[[Path], None],
    ):
        self.pipe, self.config, self.empty_caption = pipe, config, empty_caption
        self.folder, self.show = folder, show
        self.samples = list(islice(batches.held_out(1), config.images))
        self.taca_config = TacaConfig(taca_config.gamma, taca_config.threshold, adapter=ADAPTER)
        self.mixed = mixed_precision == "bf16"

    def due(self, step: int) -> bool:
        """Whether images are drawn when so many steps are done."""
        return step % self.config.every == 0

    @torch.no_grad()
    def draw(self, step: int) -> None:
        """Draws and shows a set of images; TACA must not be applied to the transformer already."""
        self.folder.mkdir(exist_ok=True)
        device = self.pipe.transformer.device
        autocast = torch.autocast(device.type, torch.bfloat16) if self.mixed else nullcontext()
        # Compiled, passes without gradients and of one image would be graphs of their own.
        with taca(self.pipe, self.taca_config), torch.compiler.set_stance("force_eager"), autocast:
            images = [self._image(number, sample) for number, sample in enumerate(self.samples)]
        for number, image in enumerate(images):
            path = self.folder / f"step-{step:06d}-{number}.png"
            image.save(path)
            self.show(path)

    def _image(self, number: int, sample: Tensors):
        height, width = (side * self.pipe.vae_scale_factor for side in sample["latents"].shape[-2:])
        return self.pipe(
            **embeddings(sample, self.empty_caption, self.pipe.vae.device, None if self.mixed else torch.float32),
            height=height,
            width=width,
            num_inference_steps=self.config.num_inference_steps,
            guidance_scale=self.config.guidance,
            generator=torch.Generator().manual_seed(self.config.seed + number),
        ).images[0]


def embeddings(sample: Tensors, empty: Tensors | None, device: torch.device, dtype: torch.dtype | None) -> Tensors:
    """The text embeddings by which a pipeline is called for one sample; `empty` is what guides it."""
    keys = ("prompt_embeds", "pooled_prompt_embeds")
    negative = {} if empty is None else {f"negative_{key}": empty[key][None] for key in keys}
    return {key: value.to(device, dtype) for key, value in ({key: sample[key] for key in keys} | negative).items()}


def load_preview_pipeline(base: Path, transformer, batches: Batches, mixed_precision: str):
    """The base's pipeline around a transformer that is loaded already, with its autoencoder; errors of `load_base`."""
    dtype = autoencoder_dtype(batches.buckets[0].read([0])["prompt_embeds"].dtype, mixed_precision)
    return load_without_text(base, str(dtype).removeprefix("torch."), transformer=transformer)


def autoencoder_dtype(encoded: torch.dtype, mixed_precision: str) -> torch.dtype:
    """Of previews' autoencoder: that of autocast, where the base itself is in 16 bits."""
    return torch.float32 if mixed_precision == "no" or encoded == torch.float32 else torch.bfloat16


def needs_empty_caption(family: Family, guidance: float) -> bool:
    """Whether images are guided by a second pass with the empty caption.

    Raises:
        LabError: the family has no way to be guided so.
    """
    family.check_drawn_guidance("train.preview.guidance", guidance)
    return guidance > 1 and family.classifier_free


def check_preview(family: Family, guidance: float, *, empty_caption: bool) -> None:
    """Makes sure that previews can be drawn.

    Args:
        empty_caption: whether the empty caption is encoded.

    Raises:
        LabError: they cannot.
    """
    if needs_empty_caption(family, guidance) and not empty_caption:
        raise LabError(
            f"`train.preview.guidance` is {guidance:g}, which needs the empty caption: set `encode.empty_caption` to "
            "true, or the guidance to 1.0."
        )
