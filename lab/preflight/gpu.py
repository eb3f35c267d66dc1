"""What encodes, trains and draws with a published base: a GPU that PyTorch can use, and its memory."""

import os
from collections.abc import Mapping, Sequence

import torch

from lab.errors import LabError
from lab.generation.acceleration import check_offload
from lab.generation.load import check_quantization
from lab.models.device import ALLOW, device_for
from lab.params import Params
from lab.preflight.ahead import Ahead
from lab.preflight.base import Base
from lab.preflight.driver import Gpu, listed_gpus, why_unusable
from lab.preflight.findings import Findings
from lab.preflight.memory import least_memory
from lab.training.frozen import check_precision

GB = 1e9


def check_gpu(params: Params, ahead: Ahead, base: Base | None, found: Findings) -> None:
    """The driver, the GPU's memory and what a precision needs besides; or a CPU, where that was asked for."""
    gpus, allowed = listed_gpus(), os.environ.get(ALLOW) == "1"
    programs = _programs(params, ahead) if base is not None else []
    scores = ahead.runs("score") and params.score.device == "cuda"
    reason = why_unusable(gpus) if gpus and (programs or scores) else None
    if reason and (scores or not allowed):
        found.sentences.append(f"GPU: {reason}")
    elif programs:
        with found.of("GPU"):
            device_for(base.size)
    if scores and not gpus and not torch.cuda.is_available():
        found.sentences.append("score: `score.device` is cuda, and no NVIDIA GPU is here: set it to cpu, or bring one.")
    if programs and gpus and base.read is not None and not allowed:
        with found.of("GPU"):
            _check_memory(gpus, {name: size for name, size in least_memory(params, base).items() if name in programs})
    _check_precisions(params, ahead, found)


def _programs(params: Params, ahead: Ahead) -> list[str]:
    """Those that compute with the base."""
    trains = any(params.adapters[name].rank > 0 for name in ahead.keys("train"))
    return [name for name in ("encode", "generate") if ahead.runs(name)] + (["train"] if trains else [])


def _check_memory(gpus: Sequence[Gpu], needed: Mapping[str, float]) -> None:
    """Raises: LabError if no GPU has room for the weights of the stage that has most of them."""
    free = [gpu.free for gpu in gpus if gpu.free is not None]
    program = max(needed, key=needed.get)
    if free and needed[program] > max(free):
        widest = max((gpu for gpu in gpus if gpu.free is not None), key=lambda gpu: gpu.free)
        raise LabError(
            f"Stage {program} needs more than {needed[program] / GB:.1f} GB for weights alone, and {widest.name} has "
            f"{widest.free / GB:.1f} GB free of {widest.total / GB:.1f}: end what else is on it (`nvidia-smi`), take a "
            "larger one, or a profile for a smaller one (`make profile` with -24gb behind the name)."
        )


def _check_precisions(params: Params, ahead: Ahead, found: Findings) -> None:
    if any(params.adapters[name].rank > 0 for name in ahead.keys("train")):
        with found.of("train"):
            check_precision(params.train.precision)
    if ahead.runs("generate"):
        with found.of("generate"):
            check_quantization(params.generate.quantization)
            check_offload(params.generate.offload)
