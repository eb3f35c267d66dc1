"""Puts processors in place for a while."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

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


@contextmanager
def swapped_in_recomputation(transformer: nn.Module, processors: Processors) -> Iterator[None]:
    """Has gradient checkpointing recompute the blocks of this forward pass with `processors`.

    A backward pass may come long after its forward pass: when other timesteps have gone through the model, or when TACA
    has been removed from it.
    """
    if not transformer.gradient_checkpointing:
        yield
        return
    checkpoint = transformer._gradient_checkpointing_func

    def checkpoint_swapped(block: Callable, *args, **kwargs):
        # PRX passes a method of its block.
        inside = set(getattr(block, "__self__", block).modules())
        own = {module: processor for module, processor in processors.items() if module in inside}

        def run_block(*args, **kwargs):
            with swapped(own):
                return block(*args, **kwargs)

        # Who checkpoints some of the blocks asks `inspect.unwrap` which one this is.
        run_block.__wrapped__ = block
        return checkpoint(run_block, *args, **kwargs)

    transformer._gradient_checkpointing_func = checkpoint_swapped
    try:
        yield
    finally:
        transformer._gradient_checkpointing_func = checkpoint


def _put(processors: Processors) -> None:
    for module, processor in processors.items():
        # Not every class has a `set_processor`.
        module.processor = processor
