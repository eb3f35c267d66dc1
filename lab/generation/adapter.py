"""Loads an arm's adapter into a pipeline for a while."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE as WEIGHTS

NAME = "taca"


@contextmanager
def adapter(pipe, folder: Path) -> Iterator[str]:
    """Loads the LoRA in `folder`, in any layout that the pipeline takes, and unloads it at the end.

    Yields the name that it has meanwhile.
    """
    # Without text encoders the pipeline warns that they have no adapter.
    logger = logging.getLogger("diffusers.loaders.lora_base")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        pipe.load_lora_weights(str(folder), weight_name=WEIGHTS, adapter_name=NAME)
    finally:
        logger.setLevel(level)
    try:
        yield NAME
    finally:
        pipe.transformer.unload_lora()
