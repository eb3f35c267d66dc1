"""Loads an arm's adapter into a pipeline for a while."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE as WEIGHTS

from lab.errors import LabError

NAME = "taca"


@contextmanager
def adapter(pipe, folder: Path) -> Iterator[str]:
    """Loads the LoRA in `folder`, in any layout that the pipeline takes, and unloads it at the end.

    Yields the name that it has meanwhile.

    Raises:
        LabError: the file is damaged, for another base, or holds weights that are no numbers.
    """
    # Without text encoders the pipeline warns that they have no adapter; one that does not fit it lists layer by layer.
    logger = logging.getLogger("diffusers.loaders")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        pipe.load_lora_weights(str(folder), weight_name=WEIGHTS, adapter_name=NAME)
    except torch.OutOfMemoryError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise LabError(
            f"The adapter {folder.as_posix()} cannot be loaded into this base ({reason}): train or fetch it again."
        ) from error
    finally:
        logger.setLevel(level)
    try:
        _check_finite(pipe.transformer, folder)
        yield NAME
    finally:
        pipe.transformer.unload_lora()


def _check_finite(transformer: torch.nn.Module, folder: Path) -> None:
    """Raises: LabError: such weights would draw black images without a word."""
    weights = (value for name, value in transformer.named_parameters() if f".{NAME}." in name)
    if not all(bool(value.isfinite().all()) for value in weights):
        raise LabError(
            f"The adapter {folder.as_posix()} holds weights that are no finite numbers: train or fetch it again."
        )
