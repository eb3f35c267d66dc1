"""The model card of an adapter, in the format of the hub, from what its file and DVC's lock say of its training."""

import json
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from lab.models.published.pin import NAME as PIN
from lab.training.lora import read_metadata

TEMPLATE = Path(__file__).parent / "card.md.j2"
_DTYPES = {"float32": "float32", "bf16": "bfloat16", "nf4": "bfloat16"}


def model_card(name: str, weights: Path, base: Path, origin: Mapping[str, str]) -> ModelCard:
    """The card of an adapter.

    Args:
        weights: its safetensors file, whose metadata says how it was trained.
        base: models/base/<name>: the pipeline that it is for, or its pin.
        origin: what else is known of its training, by name: hashes, run, commit.
    """
    metadata = read_metadata(weights)
    trained = {key.removeprefix("taca."): value for key, value in metadata.items() if key.startswith("taca.")}
    precision = trained.pop("precision", "float32")  # which the training leaves unsaid
    targets = json.loads(metadata["lora_adapter_metadata"])["transformer.target_modules"]
    pin = json.loads((base / PIN).read_text()) if (base / PIN).exists() else {}
    repo = pin.get("repo")
    facts = {
        "used at": f"t >= {trained['threshold']}",
        **trained,
        "layers": ", ".join(targets),
        "precision of the base": precision,
        **origin,
    }
    return ModelCard.from_template(
        ModelCardData(
            base_model=repo,
            library_name="diffusers",
            pipeline_tag="text-to-image",
            tags=["text-to-image", "lora", "diffusers-training", "taca"],
        ),
        template_path=str(TEMPLATE),
        name=name,
        base=repo or base.as_posix(),
        revision=f', revision="{pin["commit"]}"' if repo else "",
        dtype=_DTYPES[precision],
        gamma=trained["gamma"],
        threshold=trained["threshold"],
        facts=facts,
    )
