"""The published weights of DPT-Hybrid, converted once to safetensors, and loaded with every key accounted for."""

import os
import pickle
import re
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from taca.errors import StageError
from taca.scoring.depth.backbone import Sizes
from taca.scoring.depth.network import DptHybrid

# In the published file, but without a part in depth: the classifier that the ViT was trained with, and a unit of the
# coarsest level, which has no other map to join.
UNUSED = re.compile(r"pretrained\.model\.head\.(weight|bias)|scratch\.refinenet4\.resConfUnit1\..+")
_HASH = "source_sha256"
_SHOWN = 5  # names in one message


def load_network(path: Path, sizes: Sizes | None = None) -> DptHybrid:
    """The network in float32 on the CPU, its checkpoint converted first if that is new or has changed.

    Args:
        path: the published `.pt`; the `.safetensors` that was made of it may lie beside it, or alone.
        sizes: the published network's if None.

    Raises: StageError when there is neither, or one that cannot be read or has other tensors.
    """
    with torch.device("meta"):
        network = DptHybrid(sizes)
    converted = path.with_suffix(".safetensors")
    if path.exists():
        with path.open("rb") as file:
            sha256 = file_digest(file, "sha256").hexdigest()
        if not converted.exists() or _source_hash(converted) != sha256:
            _convert(path, converted, sha256, network)
    elif not converted.exists():
        raise StageError(f"DPT's weights {path} are missing: fetch them first, or name the folder that holds them.")
    tensors = _read_converted(converted)
    _check(network, tensors, converted)
    network.load_state_dict(tensors, assign=True)
    return network.requires_grad_(False).eval()


def _convert(path: Path, converted: Path, sha256: str, network: DptHybrid) -> None:
    try:
        published = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {key: value.float().contiguous() for key, value in published.items() if not UNUSED.fullmatch(key)}
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, TypeError) as error:
        raise StageError(
            f"{path} is not DPT-Hybrid's published checkpoint, a dictionary of tensors ({type(error).__name__}): "
            "delete it and fetch it again."
        ) from None
    _check(network, tensors, path)
    # A file with the final name is a whole one, whenever the process is killed and whoever else converts.
    unfinished = converted.with_suffix(f".{os.getpid()}.unfinished")
    save_file(tensors, unfinished, metadata={"format": "pt", _HASH: sha256})
    os.replace(unfinished, converted)


def _source_hash(converted: Path) -> str | None:
    try:
        with safe_open(converted, "pt") as file:
            return (file.metadata() or {}).get(_HASH)
    except SafetensorError as error:
        raise _damaged(converted, error) from None


def _read_converted(converted: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(converted)
    except SafetensorError as error:
        raise _damaged(converted, error) from None


def _damaged(converted: Path, error: SafetensorError) -> StageError:
    return StageError(f"{converted} cannot be read ({error}): delete it; it is made again from the .pt beside it.")


def _check(network: DptHybrid, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raises: StageError naming tensors that are missing, unknown, or of another shape."""
    wanted = {key: value.shape for key, value in network.state_dict().items()}
    found = {key: value.shape for key, value in tensors.items()}
    faults = {
        "lacks": sorted(wanted.keys() - found.keys()),
        "has besides": sorted(found.keys() - wanted.keys()),
        "has in another shape": sorted(key for key in wanted.keys() & found.keys() if wanted[key] != found[key]),
    }
    said = [f"{fault} {_some(keys)}" for fault, keys in faults.items() if keys]
    if said:
        raise StageError(
            f"{path} does not hold the tensors of DPT-Hybrid: it {'; it '.join(said)}; "
            "delete it and fetch the published checkpoint again."
        )


def _some(keys: list[str]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
