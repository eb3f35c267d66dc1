"""Loads an adapter into a pipeline for all steps or for the early ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

NAME = "taca"
WEIGHTS = "pytorch_lora_weights.safetensors"  # diffusers' own name for the file


@contextmanager
def adapter(pipe, folder: Path, scope: str, threshold: float) -> Iterator[None]:
    """Loads the LoRA in `folder` and unloads it at the end.

    Args:
        scope: "all" uses it at every step; "early" only at timesteps t >= threshold and disables it at the others,
            which then cost and give what the base alone does. Nothing is unloaded between images, so a second image
            from the same pipeline is treated as the first was.
        threshold: on the scheduler's 0..1000 scale.
    """
    # On the transformer itself: the pipeline's own method also warns of text encoders that have no adapter.
    pipe.transformer.load_lora_adapter(str(folder), weight_name=WEIGHTS, adapter_name=NAME)
    hook = None
    if scope == "early":
        hook = pipe.transformer.register_forward_pre_hook(_switch(threshold), with_kwargs=True)
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()
        pipe.transformer.unload_lora()


def _switch(threshold: float):
    """A hook that enables the adapter before early forward passes and disables it before others."""

    def choose(transformer: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        # One call has one timestep: pipelines repeat it over the batch.
        if bool((kwargs["timestep"] >= threshold).all()):
            transformer.enable_adapters()
        else:
            transformer.disable_adapters()

    return choose
