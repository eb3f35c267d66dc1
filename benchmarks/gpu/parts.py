"""What is measured, in the order of what one wants to know first, and the seconds that each part may take."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.gpu.scale import Scale

Rows = Iterator[dict]


@dataclass(frozen=True)
class Part:
    """Attributes: the most seconds, its process's start included, and what yields its rows."""

    limit: int
    rows: Callable[[Scale, str], Rows]


def simple_tuner(scale: Scale, device: str) -> Rows:
    from benchmarks.gpu import training

    return training.training_rows(training.simple_tuner(), scale, device)


def sd35_profile(scale: Scale, device: str) -> Rows:
    from benchmarks.gpu import training

    return training.training_rows(training.own("SD3.5", (1.2,), "sd35-medium"), scale, device)


def flux_profile(scale: Scale, device: str) -> Rows:
    from benchmarks.gpu import training

    return training.training_rows(training.own("FLUX", (1.2, 1.0), "flux-dev"), scale, device)


def flux_four_bits(scale: Scale, device: str) -> Rows:
    from benchmarks.gpu import training

    return training.training_rows(training.own("FLUX", (1.2,), "flux-dev", "24gb"), scale, device)


def generation(scale: Scale, device: str) -> Rows:
    from benchmarks.gpu.generation import generation_rows

    return generation_rows(scale, device)


def resume(scale: Scale, device: str) -> Rows:
    from benchmarks.gpu.resume import resume_rows

    return resume_rows(scale, device)


def attention(scale: Scale, device: str) -> Rows:
    from benchmarks.gpu.ways import flux_attention_rows

    return flux_attention_rows(scale, device)


def blocks(scale: Scale, device: str) -> Rows:
    from benchmarks.gpu.ways import flux_block_rows

    return flux_block_rows(scale, device)


def error(scale: Scale, device: str) -> Rows:
    from benchmarks.gpu.ways import error_rows

    return error_rows(scale, device)


def tests(scale: Scale, device: str) -> Rows:
    """The library's tests for a GPU; one that fails is an error."""
    tests = "tests/taca/test_on_gpu.py"
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", tests], capture_output=True, text=True)
    if done.returncode not in (0, 5):
        raise RuntimeError(done.stdout.strip().splitlines()[-1])
    yield {"said": done.stdout.strip().splitlines()[-1]}


PARTS = {
    "train SD3.5, SimpleTuner's configuration": Part(60, simple_tuner),
    "train SD3.5, profile": Part(100, sd35_profile),
    "train FLUX, profile": Part(150, flux_profile),
    "train FLUX, nf4": Part(120, flux_four_bits),
    "generate": Part(130, generation),
    "resume": Part(60, resume),
    "attention": Part(60, attention),
    "step": Part(90, blocks),
    "error": Part(40, error),
    "tests": Part(100, tests),
}
