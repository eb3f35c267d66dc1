"""The published weights: read once as they came, every key accounted for, and kept as safetensors beside them.

The copy on the model hub is no substitute: its position embeddings were shrunk from 480 to 384 pixels.
"""

import os
import pickle
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from taca.errors import StageError
from taca.scoring.blip.config import BlipConfig
from taca.scoring.blip.model import BlipVqa

NAME = "model_base_vqa_capfilt_large"
URL = f"https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/{NAME}.pth"
# Tensors that the reference shares, under the name that the model here has. When the checkpoint is loaded by name, the
# second is copied last, and so is the one that counts.
TIED = {
    "text_decoder.bert.embeddings.word_embeddings.weight": "text_decoder.cls.predictions.decoder.weight",
    "text_decoder.cls.predictions.bias": "text_decoder.cls.predictions.decoder.bias",
}
# Not weights but 0, 1, 2, ...; whether they are saved has changed with the version of transformers.
BUFFERS = ("text_encoder.embeddings.position_ids", "text_decoder.bert.embeddings.position_ids")
_HASH = "source_sha256"
_SHOWN = 6


def load_model(folder: Path, config: BlipConfig | None = None) -> BlipVqa:
    """The model in float32 on the CPU, its checkpoint converted first if that is new or has changed.

    Args:
        folder: holds the published `.pth`, or the `.safetensors` that was made of it, or both.
        config: the sizes; the published model's if None.

    Raises: StageError when there is no checkpoint, or one that cannot be read or has other tensors.
    """
    source, converted = folder / f"{NAME}.pth", folder / f"{NAME}.safetensors"
    with torch.device("meta"):
        model = BlipVqa(config or BlipConfig())
    if source.exists():
        with source.open("rb") as file:
            sha256 = file_digest(file, "sha256").hexdigest()
        if not converted.exists() or _source_hash(converted) != sha256:
            _convert(source, converted, sha256, model)
    elif not converted.exists():
        raise StageError(f"{source} does not exist: download it from {URL}.")
    model.load_state_dict(_read(converted, model), assign=True)
    return model.eval().requires_grad_(False)


def published_shapes(model: BlipVqa) -> dict[str, torch.Size]:
    """Names and shapes of the weights in the published file; `BUFFERS` may be there besides."""
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    return shapes | {published: shapes[name] for name, published in TIED.items()}


def _convert(source: Path, converted: Path, sha256: str, model: BlipVqa) -> None:
    published = _load_published(source)
    weights = {name: tensor for name, tensor in published.items() if name not in BUFFERS}
    _check(source, weights, published_shapes(model))
    tensors = {name: weights[TIED.get(name, name)].float().contiguous() for name in model.state_dict()}
    # A file with the final name is a whole one, whenever the process is killed and whoever else converts.
    unfinished = converted.with_suffix(f".{os.getpid()}.unfinished")
    save_file(tensors, unfinished, metadata={"format": "pt", _HASH: sha256})
    os.replace(unfinished, converted)


def _load_published(source: Path) -> dict[str, torch.Tensor]:
    try:
        checkpoint = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise StageError(
            f"{source} cannot be read as weights ({type(error).__name__}): download it again from {URL}."
        ) from None
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), Mapping):
        raise StageError(f"{source} has no weights under the key `model`: replace it with {URL}.")
    return checkpoint["model"]


def _read(converted: Path, model: BlipVqa) -> dict[str, torch.Tensor]:
    try:
        tensors = load_file(converted)
    except SafetensorError as error:
        raise _damaged(converted, error) from None
    _check(converted, tensors, {name: tensor.shape for name, tensor in model.state_dict().items()})
    return tensors


def _source_hash(converted: Path) -> str | None:
    try:
        with safe_open(converted, "pt") as file:
            return (file.metadata() or {}).get(_HASH)
    except SafetensorError as error:
        raise _damaged(converted, error) from None


def _damaged(converted: Path, error: SafetensorError) -> StageError:
    return StageError(f"{converted} cannot be read ({error}): delete it; it is made again from {NAME}.pth beside it.")


def _check(path: Path, tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Raises StageError that names what is missing, what is there besides, and what has another shape."""
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    odd = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    faults = [("lacks", missing), ("has besides", extra), ("has of another shape", odd)]
    if missing or extra or odd:
        found = "; ".join(f"{verb} {_some(names)}" for verb, names in faults if names)
        raise StageError(
            f"{path} is not the published BLIP VQA checkpoint for 480 pixels, for it {found}: replace it with {URL}."
        )


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
