"""The frozen base: the precision that it is held in, which of its blocks are computed twice, and their compilation."""

import inspect
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lab.errors import LabError
from lab.models.blocks import blocks_of, compile_each_block
from lab.models.four_bits import check_four_bits, four_bits
from lab.models.load import device_of, load_transformer

GRAPHS = 8  # of one block's code: with the ninth, torch.compile gives up


def load_frozen(folder: Path, precision: str) -> nn.Module:
    """A base's transformer for training, on the GPU if there is one.

    Args:
        precision: "float32", "bf16", or "nf4": 4 bits a weight, multiplied in bf16.

    Raises:
        LabError: as `lab.models.load.load_base`.
    """
    device = device_of(folder)
    if precision != "nf4":
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return load_transformer(folder, dtype).to(device)
    return load_transformer(
        folder, torch.bfloat16, quantization_config=four_bits(torch.bfloat16), device_map={"": device}
    )


def check_precision(precision: str) -> None:
    """Makes sure that this machine can hold a base so, before anything is loaded.

    Raises:
        LabError: it cannot.
    """
    if precision == "nf4":
        check_four_bits("train.precision")


def recompute_blocks(transformer: nn.Module, every: int) -> None:
    """Gradient checkpointing of every n-th block, from the first: it keeps its input alone and is computed twice.

    Args:
        every: 1: all blocks; 0: none.
    """
    if every == 0:
        return
    chosen = set(blocks_of(transformer)[::every])

    def run(function, *args):
        # TACA wraps a block in a function that says of itself what it wraps.
        if inspect.unwrap(function) in chosen:
            # Blocks draw no random numbers, so there is no state of a generator to keep.
            return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)
        return function(*args)

    transformer.enable_gradient_checkpointing(run)


def compile_blocks(transformer: nn.Module, sizes: int) -> None:
    """Has each kind of block compiled at its first pass, in a full graph for each size of image.

    Args:
        sizes: of the images, in number.

    Raises:
        LabError: more graphs than one block's code may have.
    """
    check_graphs(transformer, sizes)
    compile_each_block(transformer)


def check_graphs(transformer: nn.Module, sizes: int) -> None:
    """Makes sure that blocks can be compiled; raises as `compile_blocks`."""
    most = max(graphs(transformer, sizes).values())
    if most > GRAPHS:
        raise LabError(
            f"`train.compile` is true, but {sizes} sizes of images make {most} graphs of a block, of which "
            f"torch.compile takes {GRAPHS}: lower the number of `encode.aspects`, or set `train.compile` to false."
        )


def graphs(transformer: nn.Module, sizes: int) -> Counter:
    """How many graphs training compiles of each class of block: one for each kind of it and each size of image.

    Blocks of a class are of one kind if their parameters have the same names and shapes: the last block of Stable
    Diffusion 3 has no text output, and the first ones of its medium variant have a second attention. The first block
    of a class is of a kind of its own: nothing before it is trained, so its input has no gradient, or its input comes
    from blocks of another class, in another memory layout.
    """
    kinds, seen = set(), set()
    for block in blocks_of(transformer):
        name, shapes = type(block).__name__, tuple((key, value.shape) for key, value in block.named_parameters())
        kinds.add((name, name in seen, shapes))
        seen.add(name)
    return Counter({name: count * sizes for name, count in Counter(name for name, *_ in kinds).items()})


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """Same inputs, same bits, on a GPU too, where attention's backward pass otherwise adds up in any order."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    if on:
        # cuBLAS reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(on)
    # It finds reads of memory that nobody wrote, at the price of writing all memory once more.
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]
