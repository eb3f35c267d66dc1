"""Draws the images that are analysed, each as the arms draw the first one of its prompt."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from lab.analysis.predictions import decoded, predicted
from lab.generation.acceleration import offload_groups
from lab.generation.arm import Setup, arm_pipeline
from lab.generation.embeddings import PromptEmbeddings, embed_by_base
from lab.generation.generate import Sampling
from lab.generation.load import load_drawing
from lab.generation.plan import PlannedImage
from lab.models.family import Family, family_of

Images = Sequence[PlannedImage]


def first_of_each(planned: Images, count: int) -> list[PlannedImage]:
    """`count` of the images of different prompts: each category's first one, then its second, and so on."""
    by_category: dict[str, list[PlannedImage]] = defaultdict(list)
    for image in planned:
        by_category[image.category].append(image)
    places = {image: place for images in by_category.values() for place, image in enumerate(images)}
    return sorted(planned, key=places.__getitem__)[:count]


def embedded(
    base: Path, family: Family, images: Images, dtype: str, guidance: float, max_sequence_length: int, folder: Path
) -> PromptEmbeddings:
    """Embeddings of the images' prompts, by text encoders that are gone afterwards; they lie in `folder` meanwhile."""
    prompts = list(dict.fromkeys(image.prompt for image in images))
    return embed_by_base(
        base,
        dtype,
        family,
        prompts,
        set(prompts),
        guided=guidance > 1,
        max_sequence_length=max_sequence_length,
        batch_size=len(prompts),
        folder=folder,
    )


@dataclass(frozen=True)
class Studio:
    """A base, and how it is drawn with.

    Attributes:
        base: its folder.
        setup: how it is loaded; without compilation, since measuring takes the blocks apart.
        sampling: what the pipeline is called with; its batch size is that of all drawings.
    """

    base: Path
    setup: Setup
    sampling: Sampling
    embeddings: PromptEmbeddings

    @contextmanager
    def stock(self) -> Iterator[object]:
        """The pipeline without adapter and without TACA."""
        pipe = load_drawing(self.base, self.setup.dtype, self.setup.quantization, self.setup.offload)
        if self.setup.offload == "group":
            offload_groups(pipe.transformer)
        yield pipe

    def with_adapter(self, lora: Path, gamma: float, threshold: float) -> AbstractContextManager[object]:
        """The pipeline with an adapter under TACA, as an arm has it whose `adapter_scope` is early."""
        return arm_pipeline(self.base, lora, self.setup, gamma, threshold, "early")

    def size(self, pipe) -> tuple[int, int]:
        """Height and width of what it draws, pixels."""
        own = pipe.default_sample_size * pipe.vae_scale_factor
        return self.sampling.height or own, self.sampling.width or own

    def batches(self, images: Images) -> list[Images]:
        """What is drawn at once."""
        step = self.sampling.batch_size
        return [images[start : start + step] for start in range(0, len(images), step)]

    @torch.no_grad()
    def predictions(self, pipe, batch: Images) -> list[torch.Tensor]:
        """What is predicted in each step of drawing a batch."""
        with predicted(pipe) as found:
            pipe(
                **self.embeddings.of([image.prompt for image in batch], pipe._execution_device),
                generator=[torch.Generator().manual_seed(image.seed) for image in batch],
                output_type="latent",
                **self.sampling.options(pipe),
            )
        return found

    def seen(self, pipe, latents: torch.Tensor) -> list[Image.Image]:
        """The images of predictions."""
        return decoded(pipe, family_of(pipe.transformer), latents, *self.size(pipe))
