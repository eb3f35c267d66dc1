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


def offload_groups(transformer: torch.nn.Module) -> None:
    """Keeps a transformer's blocks in the computer's memory; each comes to the GPU while the one before computes."""
    transformer.enable_group_offload(
        onload_device=torch.device("cuda"), offload_type="block_level", num_blocks_per_group=1, use_stream=True
    )


def check_offload(offload: str) -> None:
    """Makes sure that this machine can draw so, before anything is loaded.

    Raises:
        LabError: it cannot.
    """
    if offload == "group" and not torch.cuda.is_available():
        raise LabError("`generate.offload` is group, but torch finds no GPU here: set it to none.")
