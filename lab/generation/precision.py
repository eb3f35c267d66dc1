"""Whether an adapter meets the base in the precision that it was trained on."""

from pathlib import Path

from safetensors import safe_open

from lab.errors import LabError
from lab.generation.adapter import WEIGHTS

DTYPES = {"float32": "float32", "bfloat16": "bf16", "float16": "fp16"}  # as `train.precision` names them


def precision_of(dtype: str, quantization: str) -> str:
    """What the base's weights are held in when images are drawn."""
    return DTYPES[dtype] if quantization == "none" else quantization


def check_precision(lora: Path, precision: str) -> None:
    """Makes sure that an adapter trained here is drawn on a base as it was trained on; others say nothing of theirs.

    Args:
        lora: the adapter's folder.
        precision: of the base's weights when drawing.

    Raises:
        LabError: it was trained on another.
    """
    with safe_open(lora / WEIGHTS, "pt") as file:
        facts = file.metadata() or {}
    if "taca.base" in facts:
        check_same(lora.name, facts.get("taca.precision", "float32"), precision)  # which the training leaves unsaid


def check_same(name: str, trained_on: str, precision: str) -> None:
    """As `check_precision`, of an adapter of which is known on what it is trained."""
    if trained_on != precision:
        raise LabError(
            f"The adapter {name} was trained on a base in {trained_on}, but is drawn with one in {precision}: set "
            "`generate.dtype` and `generate.quantization` to that, or `generate.other_precision` to true."
        )
