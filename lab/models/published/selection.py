"""Which files of a repository a pipeline loads: a published one also holds single-file copies and other variants."""

import re
from collections.abc import Iterable, Mapping

from lab.errors import LabError

INDEX = "model_index.json"
# model.safetensors, model.fp16.safetensors, model-00001-of-00002.safetensors, model.fp16-00001-of-00002.safetensors
_SHARD = r"(?:-\d{5}-of-\d{5})?"
_WEIGHTS = re.compile(rf"\w+(?:\.(?P<variant>\w+))?(?P<shard>{_SHARD})\.safetensors")
_WEIGHTS_INDEX = re.compile(r"\w+\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")
_OTHER_WEIGHTS = (".bin", ".bin.index.json", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".pt", ".pth")


def parts_of(index: Mapping) -> dict[str, tuple[str, str]]:
    """Library and class of each part that `model_index.json` names; one that is null is not there."""
    return {
        name: tuple(entry)
        for name, entry in index.items()
        if isinstance(entry, list) and entry[0] is not None and not name.startswith("_")
    }


def files_to_load(index: Mapping, files: Iterable[str], variant: str | None) -> list[str]:
    """The files, of all that there are, from which the pipeline of `index` is loaded, sorted.

    Args:
        variant: of the weights; a part that has none of it is loaded without, as diffusers does.

    Raises:
        LabError: a part has no files or no safetensors, or no part has the variant.
    """
    files, chosen, varied = list(files), [INDEX], variant is None
    for part in parts_of(index):
        names = [file.removeprefix(f"{part}/") for file in files if re.fullmatch(rf"{part}/[^/]+", file)]
        if not names:
            raise LabError(f"{INDEX} names the part {part}, and there is no file of it: choose a complete pipeline.")
        own = variant_of(names, variant)
        varied = varied or own is not None
        chosen += [f"{part}/{name}" for name in _part_files(part, names, own)]
    if not varied:
        raise LabError(f"No part of the pipeline has weights of the variant {variant}: set `base.variant` to null.")
    return sorted(chosen)


def variant_of(names: Iterable[str], variant: str | None) -> str | None:
    """The variant of which a part with these files is loaded: `variant`, or None where it has none of that."""
    return variant if any(_variant(name) == variant for name in names) else None


def _part_files(part: str, names: list[str], variant: str | None) -> list[str]:
    weights = [name for name in names if _WEIGHTS.fullmatch(name) and _variant(name) == variant]
    whole = [name for name in weights if not _WEIGHTS.fullmatch(name)["shard"]]
    indices = [name for name in names if _WEIGHTS_INDEX.fullmatch(name) and _variant(name) == variant]
    others = [name for name in names if name.endswith(_OTHER_WEIGHTS)]
    if others and not weights:
        raise LabError(
            f"The part {part} has no weights in safetensors, the only format that is read: convert {others[0]}, or "
            "choose another repository."
        )
    plain = [
        name
        for name in names
        if name not in others and not _WEIGHTS.fullmatch(name) and not _WEIGHTS_INDEX.fullmatch(name)
    ]
    # Where both are there, the libraries read the one file and not its shards.
    return [*plain, *(whole or [*weights, *indices])]


def _variant(name: str) -> str | None:
    match = _WEIGHTS.fullmatch(name) or _WEIGHTS_INDEX.fullmatch(name)
    return match["variant"] if match else None
