"""Loads a base pipeline, built-in or published, as diffusers finds it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from safetensors import SafetensorError

from lab.errors import LabError
from lab.models.device import device_for
from lab.models.family import Family, family_named
from lab.models.published.pin import find_pipeline, read_pin
from lab.models.published.selection import INDEX, variant_of

TEXT = ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")


def load_base(folder: Path, dtype: str, **options: object) -> DiffusionPipeline:
    """The base in `folder`, all of it in `dtype` ("float32", "bfloat16", "float16"), on the GPU if there is one.

    Args:
        folder: models/base/<name>: the pipeline itself, or its pin.
        options: of diffusers' `from_pretrained`; a part that is given as None stays away.

    Raises:
        LabError: a file is missing, damaged, or not the one that the pin names; or as `device_of`.
    """
    return _load_pipeline(folder, dtype=getattr(torch, dtype), **options)


def load_without_text(folder: Path, dtype: str, **options: object) -> DiffusionPipeline:
    """The base without text encoders and tokenizers; else as `load_base`."""
    index = read_config(folder, INDEX)
    return load_base(folder, dtype, **{name: None for name in TEXT if name in index}, **options)


def load_encoders(folder: Path, dtype: str) -> DiffusionPipeline:
    """The base without its transformer: text encoders in `dtype`, the autoencoder in float32; else as `load_base`."""
    return _load_pipeline(folder, dtype={"default": getattr(torch, dtype), "vae": torch.float32}, transformer=None)


def load_transformer(folder: Path, dtype: torch.dtype = torch.float32, **options: object) -> torch.nn.Module:
    """The base's transformer alone, for training; `options` are those of `load_base`, errors of `read_config`."""
    _quiet_in_pipes()
    place, variant = find_pipeline(folder)
    place = place / "transformer"
    variant = variant_of((path.name for path in place.iterdir()), variant)
    model = getattr(diffusers, transformer_class(folder))
    with _naming(folder):
        return model.from_pretrained(place, dtype=dtype, variant=variant, local_files_only=True, **options)


def device_of(folder: Path) -> str:
    """Where the base computes: "cuda" or "cpu".

    Raises:
        LabError: a large one would on a CPU, unasked.
    """
    pin = read_pin(folder)
    return device_for(pin.size if pin else 0)  # what is not pinned is the built-in one, of 10 MB


def transformer_class(folder: Path) -> str:
    """The name of the transformer's class, which says the family; raises as `read_config`."""
    return read_config(folder, INDEX)["transformer"][1]


def family_of_base(folder: Path) -> Family:
    """The family of the base's transformer; raises as `family_named` and `read_config`."""
    return family_named(transformer_class(folder), part_config(folder, "transformer"))


def part_config(folder: Path, part: str) -> dict:
    """The configuration of one part of the base, such as "transformer", from its JSON file; raises as `read_config`."""
    names = {"scheduler": "scheduler_config.json"}
    return read_config(folder, f"{part}/{names.get(part, 'config.json')}")


def read_config(folder: Path, name: str) -> dict:
    """A JSON file of the base, by its path in the pipeline's folder.

    Raises:
        LabError: it is missing, damaged, or not the one that the pin names.
    """
    place, _ = find_pipeline(folder)
    with _naming(folder):
        return json.loads((place / name).read_text(encoding="utf-8"))


def _load_pipeline(folder: Path, **options: object) -> DiffusionPipeline:
    device = device_of(folder)
    _quiet_in_pipes()
    place, variant = find_pipeline(folder)
    with _naming(folder):
        pipe = DiffusionPipeline.from_pretrained(place, variant=variant, local_files_only=True, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def _quiet_in_pipes() -> None:
    """Bars of loaded files are for terminals."""
    if not sys.stderr.isatty():
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Says of which base it is that a file could not be read. Raises: LabError."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise LabError(
            f"The base {folder.as_posix()} cannot be loaded ({reason}): bring its files back, those of the built-in one "
            f"with `git restore {folder.as_posix()}`."
        ) from error
