"""What the methods of arms do, measured in a base of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lab.analysis.doses import Dose, doses
from lab.analysis.drawing import Studio, embedded, first_of_each
from lab.generation.acceleration import attention_order
from lab.generation.arm import Setup
from lab.generation.generate import Sampling
from lab.generation.plan import plan_images
from lab.models.family import family_named
from lab.models.load import part_config, transformer_class


def doses_of_arms(
    base: Path, prompts: Sequence[Mapping], settings, arms: Mapping[str, object], count: int, threads: int
) -> dict[str, Dose]:
    """The doses of arms' methods in a base that draws the first prompts of each category, unguided.

    Args:
        prompts: rows of the table of prompts.
        settings: as section `generate` has them.
        arms: by name, as entries of section `arms`; guidance and adapters are no part of a method.
        count: of prompts.
    """
    torch.set_num_threads(threads)
    family = family_named(transformer_class(base), part_config(base, "transformer"))
    planned = plan_images(prompts, settings.images_per_prompt, settings.seed, firsts=1)
    images = first_of_each(planned, count)
    size = settings.height, settings.width
    sampling = Sampling(settings.num_inference_steps, 1.0, settings.batch_size, *size)
    with TemporaryDirectory() as kept, attention_order(settings.attention):
        given = settings.dtype, settings.max_sequence_length, Path(kept)
        studio = Studio(
            base,
            Setup(settings.dtype, settings.quantization, compile=False, offload=settings.offload),
            sampling,
            embedded(base, family, images, *given),
        )
        with studio.stock() as pipe:
            return dict(zip(arms, doses(studio, pipe, images, list(arms.values())), strict=True))
