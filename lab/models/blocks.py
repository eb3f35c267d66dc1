"""A transformer's blocks, one by one."""

from torch import nn


def blocks_of(transformer: nn.Module) -> list[nn.Module]:
    """The transformer's blocks, in the order in which tokens go through them."""
    return [
        block
        for name in ("transformer_blocks", "single_transformer_blocks")
        for block in getattr(transformer, name, ())
    ]


def compile_each_block(transformer: nn.Module) -> None:
    """Has each block compiled at its first pass: alike ones share a graph, which inductor's disk cache keeps.

    Dynamo takes eight graphs of a block's code. Drawing needs six at most: Stable Diffusion 3.5 medium has three kinds of
    blocks and FLUX.1 two, each in the steps in which TACA acts and in the others; training counts its own
    (`lab.training.frozen.graphs`). diffusers' `compile_repeated_blocks` refuses SD3, which names no such blocks.
    """
    for block in blocks_of(transformer):
        block.compile(fullgraph=True, dynamic=False)
