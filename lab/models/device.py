"""Where a model computes: on the GPU if there is one; a large one on a CPU only where that was asked for."""

import os

import torch

from lab.errors import LabError

ALLOW = "TACA_ALLOW_CPU"  # set to 1: this machine's user wants it
LARGE = 1e9  # bytes


def device_for(size: int, what: str = "base") -> str:
    """"cuda", or "cpu" where torch sees no GPU.

    Args:
        size: of the model's files, in bytes.
        what: it is.

    Raises:
        LabError: it would compute on a CPU for days, and nobody asked for that.
    """
    if torch.cuda.is_available():
        return "cuda"
    if size > LARGE and os.environ.get(ALLOW) != "1":
        raise LabError(
            f"The {what} is {size / 1e9:.1f} GB large, and PyTorch finds no GPU here: compute where there is one, or set "
            f"{ALLOW}=1 if it shall take days on the CPU."
        )
    return "cpu"
