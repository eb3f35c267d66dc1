"""Seconds an image of FLUX.1-dev, drawn by the product's own code: plain and with TACA, eager and compiled."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.gpu.busy import Busy, memory, reset_memory
from benchmarks.gpu.models import DTYPE, random_pipeline
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.training import profile_params
from lab.generation.acceleration import attention_order
from lab.generation.arm import Setup, drawing
from lab.generation.embeddings import PromptEmbeddings
from lab.generation.generate import Sampling, generate, pending
from lab.generation.plan import plan_images

GAMMAS = (1.0, 1.2)
PROMPT = "a photo"


class Timed:
    """A pipeline that notes how long each of its calls takes; an image in its result has left the device."""

    def __init__(self, pipe):
        self.pipe, self.seconds = pipe, []

    @property
    def _execution_device(self) -> torch.device:
        return self.pipe._execution_device

    def __call__(self, **arguments):
        start = time.perf_counter()
        output = self.pipe(**arguments)
        self.seconds.append(time.perf_counter() - start)
        return output


def generation_rows(scale: Scale, device: str) -> Iterator[dict]:
    """A row for each gamma, eager and compiled; images alternate, so that a slow moment hits both alike."""
    settings = profile_params("flux-dev").generate
    side = 8 * scale.latent_side
    sampling = Sampling(scale.steps, 3.5, 1, side, side)
    pipe, embeddings = random_pipeline(scale, device), random_embeddings(scale)
    for compiled in (False, True):
        setup = Setup(settings.dtype, "none", compiled, "none")
        seconds: dict[float, list[float]] = {gamma: [] for gamma in GAMMAS}
        peaks, shares = {}, {}
        with attention_order(settings.attention):
            for gamma in GAMMAS:
                # Few steps have the first at which TACA acts, and others. What is compiled stays so.
                draw(pipe, embeddings, replace(sampling, num_inference_steps=4), setup, gamma)
                setup = replace(setup, compile=False)
            for _ in range(scale.turns):
                for gamma in GAMMAS:
                    reset_memory(device)
                    seconds[gamma].append(draw(pipe, embeddings, sampling, setup, gamma))
                    peaks[gamma] = memory(device)
            for gamma in GAMMAS:
                busy = Busy(device)
                busy.start()
                draw(pipe, embeddings, replace(sampling, num_inference_steps=4), setup, gamma)
                shares[gamma] = busy.stop()
        for gamma in GAMMAS:
            row = {"model": "FLUX", "gamma": gamma, "compile": compiled, "steps": scale.steps}
            yield {**row, "image_s": seconds[gamma], "busy": shares[gamma], **peaks[gamma]}


def random_embeddings(scale: Scale) -> PromptEmbeddings:
    """Of one prompt, in FLUX.1-dev's widths."""
    tensors = {
        "prompt_embeds": torch.randn(1, scale.text_tokens["FLUX"], 4096, dtype=DTYPE),
        "pooled_prompt_embeds": torch.randn(1, 768, dtype=DTYPE),
    }
    return PromptEmbeddings({PROMPT: 0}, tensors, {})


def draw(pipe, embeddings: PromptEmbeddings, sampling: Sampling, setup: Setup, gamma: float) -> float:
    """Draws and writes one image; the seconds that the pipeline took."""
    planned = plan_images([{"index": 0, "prompt": PROMPT, "category": "color"}], 1, seed=42)
    timed = Timed(pipe)
    with TemporaryDirectory() as folder, drawing(pipe, None, setup, gamma, 970.0, "early"):
        work = pending(planned, sampling.batch_size, Path(folder))
        generate([timed], embeddings, work, sampling, Path(folder))
    return timed.seconds[0]
