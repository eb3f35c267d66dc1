"""Loads a base pipeline, built-in or published, as diffusers finds it."""

import json
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


def load_encoders(folder: Path, dtype: str) -> DiffusionPipeline:
    """The pipeline in `folder` without its transformer: text encoders in `dtype`, the autoencoder in float32."""
    _quiet_in_pipes()
    dtypes = {"default": getattr(torch, dtype), "vae": torch.float32}
    pipe = DiffusionPipeline.from_pretrained(folder, transformer=None, dtype=dtypes, local_files_only=True)
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def load_transformer(folder: Path, dtype: torch.dtype = torch.float32, **options) -> torch.nn.Module:
    """The base's transformer alone, for training; `options` go to diffusers' `from_pretrained`."""
    _quiet_in_pipes()
    model = getattr(diffusers, transformer_class(folder))
    return model.from_pretrained(folder, subfolder="transformer", dtype=dtype, local_files_only=True, **options)


def transformer_class(folder: Path) -> str:
    """The name of the transformer's class, which says the family."""
    return DiffusionPipeline.load_config(folder, local_files_only=True)["transformer"][1]


def part_config(folder: Path, part: str) -> dict:
    """The configuration of one part of the pipeline, such as "transformer", read from its JSON file alone."""
    names = {"scheduler": "scheduler_config.json"}
    return json.loads((folder / part / names.get(part, "config.json")).read_text())


def _quiet_in_pipes() -> None:
    """Bars of loaded files are for terminals."""
    if not sys.stderr.isatty():
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
