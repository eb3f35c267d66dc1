"""A LoRA that someone else trained: what it is for, read by loading it into the base's transformer without weights."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import diffusers
from accelerate import init_empty_weights
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from lab.errors import LabError
from lab.models.family import family_of
from lab.models.load import read_config

WEIGHTS = "pytorch_lora_weights.safetensors"  # diffusers' own name for the file
NAME = "published"
_BLOCK = re.compile(r"^((?:single_)?transformer_blocks)\.\d+\.")


def describe_adapter(lora: Path, base: Path, targets: Sequence[str] | None) -> dict[str, object]:
    """What the adapter in the folder `lora` does to the base, as JSON can hold it.

    `rank` and `alpha` list each value that a layer has, `modules` names the layers with `*` for a block's number, and
    `difference` is a sentence on the layers that it and `targets` do not share, None where there are none.

    Args:
        targets: ends of the names of the layers that adapters of one's own are for; None for the family's.

    Raises:
        LabError: the base's pipeline does not take its layout, or it is for other layers than the base has.
    """
    pipe = _empty_pipeline(base)
    own = _layers_of(pipe.transformer, targets or family_of(pipe.transformer).targets)
    try:
        state = type(pipe).lora_state_dict(str(lora), weight_name=WEIGHTS)
        pipe.load_lora_weights(str(lora), weight_name=WEIGHTS, adapter_name=NAME)
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _unfit(lora, base, f"{type(pipe).__name__}.load_lora_weights refuses it ({reason})") from None
    layers = {
        name: module
        for name, module in pipe.transformer.named_modules()
        if isinstance(module, BaseTunerLayer) and NAME in module.r
    }
    wanted = {key.split(".lora")[0].removeprefix("transformer.") for key in state if "lora" in key}
    if not layers or wanted - layers.keys():
        unknown = sorted(wanted - layers.keys())
        raise _unfit(lora, base, f"the base has no layer {unknown[0] if unknown else 'that it names'}")
    return {
        "rank": sorted({module.r[NAME] for module in layers.values()}),
        "alpha": sorted({float(module.lora_alpha[NAME]) for module in layers.values()}),
        "modules": _kinds(layers),
        "layers": len(layers),
        "difference": _difference(_kinds(layers), _kinds(own)),
    }


def _empty_pipeline(base: Path):
    """The base's pipeline with a transformer whose weights are shapes alone, and no other part."""
    index = read_config(base, "model_index.json")
    parts = {name: None for name, value in index.items() if isinstance(value, list)}
    kind = getattr(diffusers, index["transformer"][1])
    with init_empty_weights():
        transformer = kind.from_config(read_config(base, "transformer/config.json"))
    return getattr(diffusers, index["_class_name"])(**parts | {"transformer": transformer})


def _layers_of(transformer: nn.Module, targets: Sequence[str]) -> Mapping[str, nn.Module]:
    return {
        name: module
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and any(name.endswith(f".{target}") for target in targets)
    }


def _kinds(names: Mapping[str, nn.Module]) -> list[str]:
    return sorted({_BLOCK.sub(r"\1.*.", name) for name in names})


def _difference(theirs: Sequence[str], ours: Sequence[str]) -> str | None:
    only_theirs = [name for name in theirs if name not in ours]
    only_ours = [name for name in ours if name not in theirs]
    said = []
    if only_theirs:
        said.append(f"it also adapts {', '.join(only_theirs)}")
    if only_ours:
        said.append(f"it leaves out {', '.join(only_ours)}")
    return f"Against adapters trained here, {' and '.join(said)}." if said else None


def _unfit(lora: Path, base: Path, reason: str) -> LabError:
    return LabError(
        f"The adapter {lora.name} does not fit the base {base.name}: {reason}; name a LoRA of this base in "
        "`published_adapters`, in a layout that its pipeline loads."
    )
