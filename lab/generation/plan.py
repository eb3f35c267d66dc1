"""Which image is made in which batch, from which prompt and seed: a fixed function of prompts and params."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("prompt", pa.string()),
        ("category", pa.string()),
        ("prompt_index", pa.int64()),
        ("seed", pa.int64()),
        ("path", pa.string()),
    ]
)


@dataclass(frozen=True)
class PlannedImage:
    """One image: `index` counts within its category, `prompt_index` is its prompt's, `path` is in the arm's folder."""

    index: int
    prompt: str
    category: str
    prompt_index: int
    seed: int
    path: str


def plan_images(
    prompts: Sequence[dict],
    images_per_prompt: int,
    seed: int,
    limit: int | None = None,
    firsts: int | None = None,
) -> list[PlannedImage]:
    """Every image of an arm, in order, named as the benchmark names its own.

    Seeds count up from `seed` through all images, so no two images of an arm start from the same noise, and every arm
    gives an image the same seed. A limit, to the first prompts of each category, changes no image's seed or name;
    neither does `firsts`, which draws that many images of each prompt alone.
    """
    planned: list[PlannedImage] = []
    counts: dict[str, int] = {}
    for prompt in prompts:
        for _ in range(images_per_prompt):
            index = counts.get(prompt["category"], 0)
            counts[prompt["category"]] = index + 1
            path = f"{prompt['category']}/samples/{prompt['prompt']}_{index:06d}.png"
            planned.append(
                PlannedImage(index, prompt["prompt"], prompt["category"], prompt["index"], seed + len(planned), path)
            )
    within = len(prompts) if limit is None else limit
    drawn = images_per_prompt if firsts is None else firsts
    return [
        image
        for image in planned
        if image.index < within * images_per_prompt and image.index % images_per_prompt < drawn
    ]


def batches(planned: Sequence[PlannedImage], batch_size: int) -> Iterator[list[PlannedImage]]:
    """Batches of exactly `batch_size`: the last one repeats its last image, since a batch's size changes rounding."""
    for start in range(0, len(planned), batch_size):
        batch = list(planned[start : start + batch_size])
        yield batch + batch[-1:] * (batch_size - len(batch))
