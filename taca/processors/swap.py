"""Puts processors in place for a while."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

Processors = Mapping[nn.Module, object]
"""Attention modules and the processor that each is to have."""


@contextmanager
def swapped(processors: Processors) -> Iterator[None]:
    """Gives attention modules other processors, and what they had back on exit."""
    before = {module: module.processor for module in processors}
    try:
        _put(processors)
        yield
    finally:
        _put(before)


def checkpointing(transformer: nn.Module) -> list[tuple[nn.Module, str]]:
    """What computes blocks again in the backward pass: the modules, and the attribute that each keeps its function in.

    diffusers has one for all blocks; PyTorch puts a wrapper around each, as FSDP and accelerate ask it to.
    """
    if not torch.is_grad_enabled():
        return []
    wrappers = [module for module in transformer.modules() if "_checkpoint_wrapped_module" in module._modules]
    own = [(transformer, "_gradient_checkpointing_func")] if transformer.gradient_checkpointing else []
    return own + [(wrapper, "checkpoint_fn") for wrapper in wrappers]


@contextmanager
def swapped_in_recomputation(transformer: nn.Module, processors: Processors) -> Iterator[None]:
    """Has gradient checkpointing recompute the blocks of this forward pass with `processors`.

    A backward pass may come long after its forward pass: when other timesteps have gone through the model, or when TACA
    has been removed from it.
    """
    before = [(module, name, getattr(module, name)) for module, name in checkpointing(transformer)]
    try:
        for module, name, checkpoint in before:
            setattr(module, name, partial(_checkpoint_swapped, module, checkpoint, processors))
        yield
    finally:
        for module, name, checkpoint in before:
            setattr(module, name, checkpoint)


def _checkpoint_swapped(keeper: nn.Module, checkpoint: Callable, processors: Processors, block: Callable, *args, **kw):
    """A call of `checkpoint`, which `keeper` keeps, whose block finds its own processors when it runs again."""
    # PRX passes a method of its block; a wrapper around one block may pass any function that calls it.
    around = getattr(block, "__self__", block)
    inside = set((around if isinstance(around, nn.Module) else keeper).modules())
    own = {module: processor for module, processor in processors.items() if module in inside}

    def run_block(*args, **kwargs):
        with swapped(own):
            return block(*args, **kwargs)

    # Who checkpoints some of the blocks asks `inspect.unwrap` which one this is.
    run_block.__wrapped__ = block
    return checkpoint(run_block, *args, **kw)


def _put(processors: Processors) -> None:
    for module, processor in processors.items():
        # Not every class has a `set_processor`.
        module.processor = processor
