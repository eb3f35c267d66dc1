"""A base in 4 bits a weight (NF4, arXiv 2305.14314), by bitsandbytes through diffusers: the same to train on and to draw."""

from importlib.util import find_spec

import torch
from diffusers import BitsAndBytesConfig

from lab.errors import LabError


def four_bits(dtype: torch.dtype) -> BitsAndBytesConfig:
    """Every linear layer but FLUX.1's first one in NF4, multiplied in `dtype`.

    That one is small, and its error would be every image token's. The last layer, `proj_out`, is as small, but diffusers
    takes such a name for every layer of that name: the single-stream blocks have one each, a seventh of all weights.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["x_embedder"],
    )


def check_four_bits(key: str) -> None:
    """Makes sure that this machine can hold a base so, before anything is loaded.

    Args:
        key: of the parameter that asks for it.

    Raises:
        LabError: it cannot.
    """
    if not torch.cuda.is_available():
        raise LabError(
            f"`{key}` is nf4, which needs an NVIDIA GPU, and PyTorch sees none: take full precision, or a machine that "
            "has one."
        )
    if find_spec("bitsandbytes") is None:
        raise LabError(
            f"`{key}` is nf4, which needs bitsandbytes, and that is not installed: it is for Linux on x86-64 and ARM "
            "alone, where `make` installs it; take full precision elsewhere."
        )
