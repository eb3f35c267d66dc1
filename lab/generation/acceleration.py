"""Kernels, compilation and memory: what is the same for all arms, since each of them changes rounding."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from lab.errors import LabError

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


@contextmanager
def attention_order(names: Sequence[str]) -> Iterator[None]:
    """Lets `scaled_dot_product_attention` try the backends in this order.

    None may be left out: `sdpa_kernel` switches off what it does not name, and the autoencoder's single head of 512
    channels has no fused kernel. `set_attention_backend` would not do: SD3's processors do not read it.
    """
    with sdpa_kernel([BACKENDS[name] for name in names], set_priority=True):
        yield


def compile_blocks(transformer: torch.nn.Module) -> None:
    """Compiles a transformer's blocks one by one: alike ones share a graph, which inductor's disk cache keeps.

    SD3.5-medium has three kinds of blocks and FLUX two, each in the steps in which TACA acts and in the others: at most
    six graphs, below dynamo's limit of eight. (`compile_repeated_blocks` refuses SD3, which names no such blocks.)
    """
    for name, blocks in transformer.named_children():
        if name.endswith("transformer_blocks"):
            for block in blocks:
                block.compile(fullgraph=True, dynamic=False)


def offload_groups(transformer: torch.nn.Module) -> None:
    """Keeps a transformer's blocks in the computer's memory, and brings each to the GPU while the one before computes.

    Raises:
        LabError: there is no GPU.
    """
    if not torch.cuda.is_available():
        raise LabError("`generate.offload` is group, but torch finds no GPU here: set it to none.")
    transformer.enable_group_offload(
        onload_device=torch.device("cuda"), offload_type="block_level", num_blocks_per_group=1, use_stream=True
    )
