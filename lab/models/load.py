"""Loads a base pipeline, built-in or published, as diffusers finds it."""

import json
import sys
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline

from lab.models.published.pin import find_pipeline
from lab.models.published.selection import INDEX, variant_of


def load_base(folder: Path, dtype: str, **options: object) -> DiffusionPipeline:
    """The base in `folder`, all of it in `dtype` ("float32", "bfloat16", "float16"), on the GPU if there is one.

    Args:
        folder: models/base/<name>: the pipeline itself, or its pin.
        options: of diffusers' `from_pretrained`; a part that is given as None stays away.

    Raises:
        LabError: a file that the pin names is missing, or has changed.
    """
    return _load_pipeline(folder, dtype=getattr(torch, dtype), **options)


def load_encoders(folder: Path, dtype: str) -> DiffusionPipeline:
    """The base without its transformer: text encoders in `dtype`, the autoencoder in float32; else as `load_base`."""
    return _load_pipeline(folder, dtype={"default": getattr(torch, dtype), "vae": torch.float32}, transformer=None)


def load_transformer(folder: Path, dtype: torch.dtype = torch.float32, **options: object) -> torch.nn.Module:
    """The base's transformer alone, for training; `options` and errors are those of `load_base`."""
    _quiet_in_pipes()
    place, variant = find_pipeline(folder)
    place = place / "transformer"
    variant = variant_of((path.name for path in place.iterdir()), variant)
    model = getattr(diffusers, transformer_class(folder))
    return model.from_pretrained(place, dtype=dtype, variant=variant, local_files_only=True, **options)


def transformer_class(folder: Path) -> str:
    """The name of the transformer's class, which says the family; raises as `load_base`."""
    return read_config(folder, INDEX)["transformer"][1]


def part_config(folder: Path, part: str) -> dict:
    """The configuration of one part of the base, such as "transformer", from its JSON file; raises as `load_base`."""
    names = {"scheduler": "scheduler_config.json"}
    return read_config(folder, f"{part}/{names.get(part, 'config.json')}")


def read_config(folder: Path, name: str) -> dict:
    """A JSON file of the base, by its path in the pipeline's folder; raises as `load_base`."""
    place, _ = find_pipeline(folder)
    return json.loads((place / name).read_text(encoding="utf-8"))


def _load_pipeline(folder: Path, **options: object) -> DiffusionPipeline:
    _quiet_in_pipes()
    place, variant = find_pipeline(folder)
    pipe = DiffusionPipeline.from_pretrained(place, variant=variant, local_files_only=True, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def _quiet_in_pipes() -> None:
    """Bars of loaded files are for terminals."""
    if not sys.stderr.isatty():
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
