"""Draws an arm's images batch by batch; images that are there already are kept."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

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
    pipes: Sequence,
    embeddings: PromptEmbeddings,
    work: Sequence[Sequence[PlannedImage]],
    sampling: Sampling,
    folder: Path,
) -> None:
    """Writes every image of the batches in `work` that is missing in `folder`.

    Args:
        pipes: one for each batch that is drawn at once, all alike, each on its share of torch's threads: small
            operations gain little from more. Who draws a batch, and when, is no part of its bytes.

    Raises:
        LabError: what was drawn is no number, which the pipeline would turn into black pixels, or guidance has a window
            and the pipeline guides by no second pass.
    """
    stopping, left = Event(), iter(work)

    def draw_what_is_left(pipe) -> None:
        torch.set_num_threads(share)
        for batch in left:
            images = _draw(pipe, embeddings, batch, sampling, stopping)
            for planned, image in dict(zip(batch, images, strict=True)).items():
                path = folder / planned.path
                if not path.exists():
                    writer.write(image, path)
            bar.update(len(batch))

    with (
        tqdm(total=len(work) * sampling.batch_size, desc="generate", unit="image", disable=None) as bar,
        # One batch is written while the next is drawn.
        ImageWriter(2 * sampling.batch_size * len(pipes)) as writer,
        _shared_threads(len(pipes)) as share,
        ThreadPoolExecutor(len(pipes), thread_name_prefix="draw") as pool,
    ):
        drawing = [pool.submit(draw_what_is_left, pipe) for pipe in pipes]
        try:
            for done in as_completed(drawing):
                done.result()
        except BaseException:
            stopping.set()
            deque(left, maxlen=0)  # nobody begins another batch
            raise


@contextmanager
def _shared_threads(places: int) -> Iterator[int]:
    """Yields each place's share of torch's threads, whose number is as before afterwards: a thread sets it for all."""
    threads = torch.get_num_threads()
    try:
        yield max(1, threads // places)
    finally:
        torch.set_num_threads(threads)


class _Stopping(Exception):
    """Another place failed, or the program is stopped."""


def _stop_when(stopping: Event, after_step: Callable) -> Callable:
    """A pipeline's `callback_on_step_end` that raises once `stopping` is set, and else does what `after_step` does."""

    def callback(pipe, step: int, timestep, tensors: dict) -> dict:
        if stopping.is_set():
            raise _Stopping
        return after_step(pipe, step, timestep, tensors)

    return callback


def _draw(
    pipe, embeddings: PromptEmbeddings, batch: Sequence[PlannedImage], sampling: Sampling, stopping: Event
) -> list:
    options = sampling.options(pipe)
    after_step = options.pop("callback_on_step_end", lambda *_: {})
    try:
        with np.errstate(invalid="raise"):  # of NaN as a pixel
            return pipe(
                **embeddings.of([image.prompt for image in batch], pipe._execution_device),
                # On the CPU whatever the device: a seed gives the same noise everywhere.
                generator=[torch.Generator().manual_seed(image.seed) for image in batch],
                callback_on_step_end=_stop_when(stopping, after_step),
                **options,
            ).images
    except FloatingPointError:
        raise LabError(
            f'An image of "{batch[0].prompt}", or of a prompt drawn with it, has pixels that are no numbers: set '
            "`generate.dtype` to bfloat16 or float32, or lower the arm's gamma or guidance."
        ) from None
