"""What describes, encodes, trains and draws with a published model: a GPU that PyTorch can use, and its memory."""

import os
from collections.abc import Sequence

import torch

from lab.errors import LabError
from lab.estimate.estimate import Row
from lab.generation.acceleration import check_offload
from lab.generation.load import check_quantization
from lab.models.device import ALLOW, device_for
from lab.params import Params
from lab.params.sections import LlavaCaption
from lab.preflight.ahead import Ahead
from lab.preflight.driver import Gpu, listed_gpus, why_unusable
from lab.preflight.findings import Findings
from lab.training.frozen import check_precision

GB = 1e9


def check_gpu(params: Params, ahead: Ahead, figures: Sequence[Row], found: Findings) -> None:
    """The driver, the GPU's memory and what a precision needs besides; or a CPU, where that was asked for."""
    gpus, allowed = listed_gpus(), os.environ.get(ALLOW) == "1"
    computes = _computes(params, ahead)
    describes = ahead.runs("caption") and isinstance(params.caption, LlavaCaption)
    scores = ahead.runs("score") and params.score.device == "cuda"
    reason = why_unusable(gpus) if gpus and (computes or describes or scores) else None
    if reason and (scores or not allowed):
        found.sentences.append(f"GPU: {reason}")
    else:
        with found.of("GPU"):
            device_for(found.base_size if computes else 0)
        with found.of("GPU"):
            device_for(found.captioner_size if describes else 0, "captioner")
    if scores and not gpus and not torch.cuda.is_available():
        found.sentences.append("score: `score.device` is cuda, and no NVIDIA GPU is here: set it to cpu, or bring one.")
    if gpus and not allowed:
        with found.of("GPU"):
            _check_memory(gpus, figures)
    _check_precisions(params, ahead, found)


def _computes(params: Params, ahead: Ahead) -> bool:
    """Whether anything computes with a published base."""
    trains = any(params.adapters[name].rank > 0 for name in ahead.keys("train"))
    return params.base.source != "world" and (trains or ahead.runs("encode", "generate"))


def _check_memory(gpus: Sequence[Gpu], figures: Sequence[Row]) -> None:
    """Raises: LabError if no GPU has room for the stage that takes most."""
    with_memory = [gpu for gpu in gpus if gpu.free is not None]
    needed = max(figures, key=lambda row: row.peak or 0, default=None)
    if needed is None or not needed.peak or not with_memory:
        return
    widest = max(with_memory, key=lambda gpu: gpu.free)
    if needed.peak > widest.free:
        raise LabError(
            f"Stage {needed.stage} needs {needed.peak / GB:.1f} GB by the estimate, and {widest.name} has "
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
