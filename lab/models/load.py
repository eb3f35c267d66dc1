"""Loads a base pipeline, built-in or published, as diffusers finds it."""

import sys
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline


def load_base(folder: Path, dtype: str) -> DiffusionPipeline:
    """The pipeline in `folder`, all of it in `dtype` ("float32", "bfloat16", "float16"), on the GPU if there is one."""
    _quiet_in_pipes()
    pipe = DiffusionPipeline.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def load_transformer(folder: Path) -> torch.nn.Module:
    """The base's transformer alone, in float32, for training."""
    name = DiffusionPipeline.load_config(folder, local_files_only=True)["transformer"][1]
    return getattr(diffusers, name).from_pretrained(
        folder, subfolder="transformer", dtype=torch.float32, local_files_only=True
    )


def _quiet_in_pipes() -> None:
    """Bars of loaded files are for terminals."""
    if not sys.stderr.isatty():
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
