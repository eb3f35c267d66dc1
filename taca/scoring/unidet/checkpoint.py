"""Published checkpoints, converted once to safetensors, and loaded with every key accounted for."""

import os
import pickle
import re
from collections.abc import Callable
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from taca.errors import StageError
from taca.scoring.unidet.model import UniDet, Variant

# What detectron2 writes beside the weights: constants that this code has itself, and counters of training.
_IGNORED = re.compile(r"pixel_mean|pixel_std|(.+\.)?num_batches_tracked|(.+\.)?anchor_generator\.cell_anchors\..+")
_HASH = "source_sha256"
_SHOWN = 5  # names in one message


def load_model(variant: Variant, path: Path) -> UniDet:
    """A model in float32 with the weights of the published `.pth`, converted first if that is new or has changed.

    Args:
        path: the `.pth`; the `.safetensors` that was made of it may lie beside it, or alone.

    Raises: StageError when there is neither, when the file cannot be read, or when a tensor is missing, unknown or of
        another shape.
    """
    with torch.device("meta"):
        model = UniDet(variant)
    converted = path.with_suffix(".safetensors")
    if path.exists():
        with path.open("rb") as file:
            sha256 = file_digest(file, "sha256").hexdigest()
        if not converted.exists() or _source_hash(converted) != sha256:
            _convert(path, converted, sha256, model)
    elif not converted.exists():
        raise StageError(f"UniDet's weights {path} are missing: fetch them first, or name the folder that holds them.")
    tensors = _read_converted(converted, load_file)
    check_tensors(model, tensors, converted)
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(False).eval()


def read_published(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a `.pth` that the model uses, in float32. Reading runs no code that the file may hold.

    Raises: StageError when the file is no such checkpoint.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)["model"]
        return {
            key: value.float().contiguous().clone() for key, value in tensors.items() if not _IGNORED.fullmatch(key)
        }
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, AttributeError) as error:
        raise StageError(
            f"{path} is not UniDet's published checkpoint, a dictionary with tensors under `model` "
            f"({type(error).__name__}): delete it and fetch it again."
        ) from None


def check_tensors(model: UniDet, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Raises: StageError naming tensors that are missing, unknown, or of another shape."""
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    faults = {
        "lacks": sorted(wanted.keys() - found.keys()),
        "has besides": sorted(found.keys() - wanted.keys()),
        "has in another shape": sorted(key for key in wanted.keys() & found.keys() if wanted[key] != found[key]),
    }
    said = [f"{fault} {_names(keys)}" for fault, keys in faults.items() if keys]
    if said:
        raise StageError(
            f"{path} does not hold the tensors of this UniDet: it {'; it '.join(said)}; "
            "delete it and fetch the published checkpoint again."
        )


def _names(keys: list[str]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _convert(path: Path, converted: Path, sha256: str, model: UniDet) -> None:
    tensors = read_published(path)
    check_tensors(model, tensors, path)
    # A file with the final name is a whole one, whenever the process is killed and whoever else converts.
    unfinished = converted.with_suffix(f".{os.getpid()}.unfinished")
    save_file(tensors, unfinished, metadata={"format": "pt", _HASH: sha256})
    os.replace(unfinished, converted)


def _source_hash(converted: Path) -> str | None:
    def read(path: Path) -> str | None:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get(_HASH)

    return _read_converted(converted, read)


def _read_converted(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except SafetensorError as error:
        raise StageError(
            f"{path} cannot be read ({error}): delete it; it is made again from the .pth beside it."
        ) from None
