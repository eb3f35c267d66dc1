"""LoRA on the attention projections (Eq. 12), saved as plain diffusers load it.

The paper names "the attention layers" and no modules; all query, key, value and output projections of both streams are
an assumption, declared here.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from lab.errors import LabError

TARGETS = {
    "attention": ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"],
}
WEIGHTS = "pytorch_lora_weights.safetensors"


def add_lora(
    transformer: torch.nn.Module, rank: int, alpha: float, modules: str, seed: int
) -> list[torch.nn.Parameter]:
    """Freezes the transformer, adds an adapter drawn from `seed` and returns its parameters, in the model's order.

    Args:
        rank, alpha: the update is alpha / rank · B·A; B starts at zero, so the model starts as it was.
        modules: a key of `TARGETS`.

    Raises:
        LabError: rank exceeds the width of a layer it is for.
    """
    transformer.requires_grad_(False)
    narrowest = min(
        min(module.weight.shape)
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear) and any(name.endswith(f".{target}") for target in TARGETS[modules])
    )
    if rank > narrowest:
        raise LabError(f"The adapter's rank is {rank}, but the base's attention layers are {narrowest} wide; lower it.")
    torch.manual_seed(seed)
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS[modules]))
    return [parameter for parameter in transformer.parameters() if parameter.requires_grad]


def save_lora(transformer: torch.nn.Module, folder: Path, facts: Mapping[str, str]) -> None:
    """Writes the adapter to `folder` in diffusers' layout; `facts` join the file's metadata.

    The header's entries are sorted, since the library writes them in an order that changes from run to run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = transformer.peft_config["default"].to_dict()
    config["target_modules"] = sorted(config["target_modules"])
    StableDiffusion3Pipeline.save_lora_weights(
        folder,
        transformer_lora_layers=get_peft_model_state_dict(transformer),
        transformer_lora_adapter_metadata=config,
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
