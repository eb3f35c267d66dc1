"""Published checkpoints: read without running them, every key accounted for, and kept as safetensors beside them."""

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch.nn import Module

from compbench.errors import CompbenchError
from compbench.weights.command import command_for
from compbench.weights.hashes import known_sha256

_HASH = "source_sha256"  # in a conversion's header
_SHOWN = 6  # names in one message
_Result = TypeVar("_Result")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A published file, and how its tensors differ from those of the model here.

    Args:
        weights: the folder of all weights.
        name: of the file in it, as the registry has it.
        model: what messages call the model.
        key: the one that the tensors lie under, or None where they are the whole file.
        unused: names of tensors that the model has no part for.
        tied: names in the model of tensors that the file holds twice, and the other name, whose tensor counts.
        extra: whether the file may hold more tensors than these, which are named and left out.
    """

    weights: Path
    name: str
    model: str
    key: str | None = None
    unused: re.Pattern = re.compile(r"(?!)")
    tied: Mapping[str, str] = field(default_factory=dict)
    extra: bool = False

    @property
    def source(self) -> Path:
        return self.weights / self.name

    @property
    def converted(self) -> Path:
        return self.source.with_suffix(".safetensors")

    @property
    def remedy(self) -> str:
        """Where the file is there, the command makes sure that its source is."""
        return f"delete it and run `{command_for(self.weights, self.name)}`"


def load(model: Module, checkpoint: Checkpoint) -> Module:
    """`model` with the published weights, on the CPU, floats in float32; they are converted if new or changed.

    The published file, the `.safetensors` that was made of it, or both may be there.

    Args:
        model: its own tensors are replaced and so may be on the device "meta".

    Raises: CompbenchError when there is neither file, or one that cannot be read or has other tensors than the model.
    """
    source, converted = checkpoint.source, checkpoint.converted
    if source.exists():
        sha256 = known_sha256(checkpoint.weights, checkpoint.name)
        if not converted.exists() or _source_hash(checkpoint) != sha256:
            _convert(model, checkpoint, sha256)
    elif not converted.exists():
        raise CompbenchError(f"{source} is missing: run `{command_for(checkpoint.weights, checkpoint.name)}`.")
    tensors = _opened(checkpoint, load_file)
    _check(checkpoint, converted, tensors, _shapes(model))
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(False).eval()


def published_shapes(model: Module, checkpoint: Checkpoint) -> dict[str, torch.Size]:
    """Names and shapes of the tensors that the published file must hold; the unused may be there besides."""
    shapes = _shapes(model)
    return shapes | {other: shapes[name] for name, other in checkpoint.tied.items()}


def _shapes(model: Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def _convert(model: Module, checkpoint: Checkpoint, sha256: str) -> None:
    published, shapes = _read_published(checkpoint), published_shapes(model, checkpoint)
    if checkpoint.extra:
        published = _without_extra(checkpoint, published, shapes)
    _check(checkpoint, checkpoint.source, published, shapes)
    # Each in memory of its own, as safetensors wants it.
    tensors = {name: _copy(published.pop(checkpoint.tied.get(name, name))) for name in model.state_dict()}
    # A file with the final name is a whole one, whenever the process is killed and whoever else converts.
    unfinished = checkpoint.converted.with_suffix(f".{os.getpid()}.unfinished")
    save_file(tensors, unfinished, metadata={"format": "pt", _HASH: sha256})
    # safetensors writes for the user's eyes alone; others' stages read weights too, where the user's mask lets them.
    mask = os.umask(0)
    os.umask(mask)
    unfinished.chmod(0o666 & ~mask)
    os.replace(unfinished, checkpoint.converted)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.to(dtype, copy=True, memory_format=torch.contiguous_format)


def _read_published(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The tensors that the model uses. Reading runs no code that the file may hold."""
    try:
        content = torch.load(checkpoint.source, map_location="cpu", weights_only=True)
        tensors = content if checkpoint.key is None else content[checkpoint.key]
        # `module.` stands before every name where training was spread over GPUs.
        named = {name.removeprefix("module."): tensor.detach() for name, tensor in tensors.items()}
    # A damaged pickle can raise nearly anything. Whether the file can be opened at all has shown when it was hashed.
    except Exception as error:
        place = "" if checkpoint.key is None else f" under `{checkpoint.key}`"
        raise CompbenchError(
            f"{checkpoint.source} is not the published checkpoint of {checkpoint.model}, a dictionary with tensors"
            f"{place} ({type(error).__name__}): {checkpoint.remedy}."
        ) from None
    return {name: tensor for name, tensor in named.items() if not checkpoint.unused.fullmatch(name)}


def _without_extra(
    checkpoint: Checkpoint, published: Mapping[str, torch.Tensor], shapes: Mapping[str, torch.Size]
) -> dict[str, torch.Tensor]:
    extra = [name for name in published if name not in shapes]
    if extra:
        _LOG.warning("%s: left out what %s has no part for: %s", checkpoint.source, checkpoint.model, ", ".join(extra))
    return {name: tensor for name, tensor in published.items() if name in shapes}


def _source_hash(checkpoint: Checkpoint) -> str | None:
    def read(path: Path) -> str | None:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get(_HASH)

    return _opened(checkpoint, read)


def _opened(checkpoint: Checkpoint, read: Callable[[Path], _Result]) -> _Result:
    try:
        return read(checkpoint.converted)
    except SafetensorError as error:
        raise CompbenchError(f"{checkpoint.converted} cannot be read ({error}): {checkpoint.remedy}.") from None


def _check(
    checkpoint: Checkpoint, path: Path, tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Size]
) -> None:
    """Raises: CompbenchError that names what is missing, what is there besides, and what has another shape."""
    faults = {
        "lacks": [name for name in expected if name not in tensors],
        "has besides": [name for name in tensors if name not in expected],
        "has in another shape": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(shape)}"
            for name, shape in expected.items()
            if name in tensors and tensors[name].shape != shape
        ],
    }
    said = [f"{fault} {_some(names)}" for fault, names in faults.items() if names]
    if not said:
        return
    fault = f"{path} does not hold the tensors of {checkpoint.model}: it {'; '.join(said)}"
    if path == checkpoint.source and all(name in tensors for name in expected) and not faults["has in another shape"]:
        raise CompbenchError(f"{fault}; if the model works without them, allow extra tensors.", "extra_tensors")
    raise CompbenchError(f"{fault}; {checkpoint.remedy}.")


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
