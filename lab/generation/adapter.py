"""Loads an arm's adapter into a pipeline for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "taca"
WEIGHTS = "pytorch_lora_weights.safetensors"  # diffusers' own name for the file


@contextmanager
def adapter(pipe, folder: Path) -> Iterator[str]:
    """Loads the LoRA in `folder`, gives the name that it has meanwhile, and unloads it at the end."""
    # On the transformer itself: the pipeline's own method also warns of text encoders that have no adapter.
    pipe.transformer.load_lora_adapter(str(folder), weight_name=WEIGHTS, adapter_name=NAME)
    try:
        yield NAME
    finally:
        pipe.transformer.unload_lora()
