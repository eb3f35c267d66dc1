"""Loads a base in two halves, so that text encoders and transformer need not fit on a GPU together."""

import gc
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from lab.errors import LabError
from lab.models.family import Family
from lab.models.four_bits import check_four_bits, four_bits
from lab.models.load import device_of, load_base, load_transformer, load_without_text


def load_text(folder: Path, dtype: str) -> DiffusionPipeline:
    """The base without transformer and autoencoder: what encodes prompts."""
    return load_base(folder, dtype, transformer=None, vae=None)


def free_memory() -> None:
    """Gives back what a pipeline held of which no name is left: a GPU has no room for the next one beside it."""
    gc.collect()
    torch.cuda.empty_cache()


def load_drawing(folder: Path, dtype: str, quantization: str, offload: str = "none") -> DiffusionPipeline:
    """The base without text encoders: what draws from their embeddings.

    Args:
        quantization: "none", or "nf4" for 4-bit weights of the transformer, which compute in `dtype`.
        offload: "none", or "group": the transformer stays in the computer's memory, for `offload_groups`.
    """
    options, number = {}, getattr(torch, dtype)
    if offload == "group":
        # A pipeline brings all that it is loaded with to the GPU, which may not have room for the whole of it.
        pipe = load_without_text(folder, dtype, transformer=None)
        pipe.register_modules(transformer=load_transformer(folder, number))
        return pipe
    if quantization == "nf4":
        options["transformer"] = load_transformer(
            folder, number, quantization_config=four_bits(number), device_map={"": device_of(folder)}
        )
    return load_without_text(folder, dtype, **options)


def check_quantization(quantization: str) -> None:
    """Makes sure that this machine can hold a base so, before anything is loaded.

    Raises:
        LabError: it cannot.
    """
    if quantization == "nf4":
        check_four_bits("generate.quantization")


def vae_scale_of(vae_config: Mapping) -> int:
    """Pixels a side of one latent pixel."""
    return 2 ** (len(vae_config["block_out_channels"]) - 1)


def check_size(family: Family, vae_config: Mapping, height: int | None, width: int | None) -> None:
    """Makes sure that a base can draw images of this size, in pixels; None is its own.

    Raises:
        LabError: its autoencoder or its patches cannot.
    """
    if height is None:
        return
    fault = family.size_fault(height, width, vae_scale_of(vae_config))
    if fault is not None:
        raise LabError(f"`generate.height` and `generate.width` {height} x {width} {fault}.")
