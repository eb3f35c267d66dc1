"""LoRA on a transformer's layers (Eq. 12), saved as plain diffusers load it."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE as WEIGHTS
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict

from lab.errors import LabError
from lab.models.family import family_of


def add_lora(
    transformer: torch.nn.Module, rank: int, alpha: float, targets: Sequence[str] | None, seed: int
) -> list[torch.nn.Parameter]:
    """Freezes the transformer, adds an adapter drawn from `seed` and returns its parameters, in the model's order.

    The parameters are float32 whatever the transformer is: an optimizer's steps are lost in 16 bits. Matrices are
    multiplied in the base's precision where the pass runs under autocast, and only there.

    Args:
        rank, alpha: the update is alpha / rank · B·A; B starts at zero, so the model starts as it was.
        targets: ends of the layers' names; None for the family's own.

    Raises:
        LabError: a target that no layer has, or a rank that exceeds the width of a layer it is for.
    """
    transformer.requires_grad_(False)
    targets = list(family_of(transformer).targets if targets is None else targets)
    check_targets(transformer, rank, targets)
    torch.manual_seed(seed)
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets))
    parameters = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    return parameters


def keep_inputs(transformer: torch.nn.Module) -> None:
    """Lets adapters take their input as it is, where autocast brings it to what the multiplication wants.

    By itself peft first copies it to the adapter's float32, which autocast undoes at once.
    """
    for module in transformer.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False


def check_targets(transformer: torch.nn.Module, rank: int, targets: Sequence[str] | None) -> None:
    """Makes sure that an adapter can be added, as `add_lora` does, which also says the errors."""
    targets = family_of(transformer).targets if targets is None else targets
    # By their stated widths: weights in 4 bits are packed.
    widths = {
        name: min(module.in_features, module.out_features)
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    found = {target: [name for name in widths if name.endswith(f".{target}")] for target in targets}
    for target, names in found.items():
        if not names:
            raise LabError(
                f"`train.targets` has {target!r}, which no layer of this {type(transformer).__name__} is called; name "
                "layers by the ends of their names, such as to_q, or set it to null for the family's own."
            )
    narrowest = min(widths[name] for names in found.values() for name in names)
    if rank > narrowest:
        raise LabError(f"The adapter's rank is {rank}, but a layer that it is for is {narrowest} wide; lower it.")


def save_lora(transformer: torch.nn.Module, folder: Path, facts: Mapping[str, str]) -> None:
    """Writes the adapter to `folder` in diffusers' layout; `facts` join the file's metadata.

    alpha / rank is multiplied into B, and alpha written as the rank: who reads no alpha takes it to be the rank. Keys
    called `.alpha`, which other readers would take, are refused by diffusers' loader for SD3.

    The header's entries are sorted, since the library writes them in an order that changes from run to run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = transformer.peft_config["default"].to_dict()
    config["target_modules"] = sorted(config["target_modules"])
    scale = config["lora_alpha"] / config["r"]
    weights = get_peft_model_state_dict(transformer)
    weights = {name: weight * scale if ".lora_B." in name else weight for name, weight in weights.items()}
    family_of(transformer).pipeline.save_lora_weights(
        folder,
        transformer_lora_layers=weights,
        transformer_lora_adapter_metadata=config | {"lora_alpha": config["r"]},
    )
    _sort_header(folder / WEIGHTS, facts)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file."""
    return _split(path)[0].get("__metadata__", {})


def _split(path: Path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _sort_header(path: Path, facts: Mapping[str, str]) -> None:
    header, data = _split(path)
    metadata = header.pop("__metadata__", {}) | dict(facts)
    if "lora_adapter_metadata" in metadata:
        adapter = json.loads(metadata["lora_adapter_metadata"])
        metadata["lora_adapter_metadata"] = json.dumps(adapter, sort_keys=True)
    ordered = {"__metadata__": dict(sorted(metadata.items())), **header}
    encoded = json.dumps(ordered, separators=(",", ":")).encode()
    # The format wants the data aligned to eight bytes; spaces fill the gap.
    encoded += b" " * (-len(encoded) % 8)
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
