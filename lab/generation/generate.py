"""Draws an arm's images batch by batch; images that are there already are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from lab.errors import LabError
from lab.generation.embeddings import PromptEmbeddings
from lab.generation.guidance import Guidance
from lab.generation.plan import PlannedImage, batches
from lab.generation.writing import ImageWriter


@dataclass(frozen=True)
class Sampling:
    """What the pipeline is called with besides prompts and seeds; `height` and `width` None are the base's own."""

    num_inference_steps: int
    guidance_scale: float
    batch_size: int
    height: int | None = None
    width: int | None = None
    guidance_window: tuple[float, float] | None = None

    def options(self, pipe) -> dict[str, object]:
        """Them as the pipeline's arguments; raises what `Guidance.options` does."""
        size = {"height": self.height, "width": self.width}
        guidance = Guidance(self.guidance_scale, self.guidance_window)
        return {
            "num_inference_steps": self.num_inference_steps,
            **guidance.options(pipe, self.num_inference_steps, **size),
            **size,
        }


def pending(planned: Sequence[PlannedImage], batch_size: int, folder: Path) -> list[list[PlannedImage]]:
    """The batches of which an image is missing in `folder`."""
    return [
        batch
        for batch in batches(planned, batch_size)
        if not all((folder / image.path).exists() for image in dict.fromkeys(batch))
    ]


def generate(
    pipe, embeddings: PromptEmbeddings, work: Sequence[Sequence[PlannedImage]], sampling: Sampling, folder: Path
) -> None:
    """Writes every image of the batches in `work` that is missing in `folder`.

    Raises:
        LabError: what was drawn is no number, which the pipeline would turn into black pixels, or guidance has a window
            and the pipeline guides by no second pass.
    """
    with (
        tqdm(total=len(work) * sampling.batch_size, desc="generate", unit="image", disable=None) as bar,
        # One batch is written while the next is drawn.
        ImageWriter(2 * sampling.batch_size) as writer,
    ):
        for batch in work:
            images = _draw(pipe, embeddings, batch, sampling)
            for planned, image in dict(zip(batch, images, strict=True)).items():
                path = folder / planned.path
                if not path.exists():
                    writer.write(image, path)
            bar.update(len(batch))


def _draw(pipe, embeddings: PromptEmbeddings, batch: Sequence[PlannedImage], sampling: Sampling) -> list:
    try:
        with np.errstate(invalid="raise"):  # of NaN as a pixel
            return pipe(
                **embeddings.of([image.prompt for image in batch], pipe._execution_device),
                # On the CPU whatever the device: a seed gives the same noise everywhere.
                generator=[torch.Generator().manual_seed(image.seed) for image in batch],
                **sampling.options(pipe),
            ).images
    except FloatingPointError:
        raise LabError(
            f'An image of "{batch[0].prompt}", or of a prompt drawn with it, has pixels that are no numbers: set '
            "`generate.dtype` to bfloat16 or float32, or lower the arm's gamma or guidance."
        ) from None
