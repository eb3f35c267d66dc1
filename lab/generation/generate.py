"""Makes an arm's images batch by batch; images that are there already are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from lab.generation.plan import PlannedImage, batches


@dataclass(frozen=True)
class Sampling:
    """What the pipeline is called with besides prompts and seeds."""

    num_inference_steps: int
    guidance_scale: float
    max_sequence_length: int
    batch_size: int


def generate(pipe, planned: Sequence[PlannedImage], sampling: Sampling, folder: Path) -> None:
    """Writes every planned image into `folder`. A batch with nothing missing is passed over."""
    work = list(batches(planned, sampling.batch_size))
    with tqdm(total=len(planned), desc="generate", unit="image", disable=None) as bar:
        for batch in work:
            missing = [image for image in dict.fromkeys(batch) if not (folder / image.path).exists()]
            if missing:
                _make(pipe, batch, missing, sampling, folder)
            bar.update(len(set(batch)))


def _make(pipe, batch: list[PlannedImage], missing: list[PlannedImage], sampling: Sampling, folder: Path) -> None:
    images = pipe(
        prompt=[image.prompt for image in batch],
        # On the CPU whatever the device: a seed gives the same noise everywhere.
        generator=[torch.Generator().manual_seed(image.seed) for image in batch],
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        max_sequence_length=sampling.max_sequence_length,
    ).images
    made = dict(zip(batch, images, strict=True))
    for image in missing:
        path = folder / image.path
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        made[image].save(partial, format="PNG")
        partial.replace(path)
