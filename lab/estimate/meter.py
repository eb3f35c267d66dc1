"""Bytes of tensors that live at the same time, and floating-point operations, of code that runs under a meter."""

from collections.abc import Iterable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop
from torch.utils.weak import WeakIdKeyDictionary, weakref

aten = torch.ops.aten
# FlashAttention's counterpart for processors, by which `kernels.Gpu` stands for it; the counter knows the other alone.
FORMULAS = FlopCounterMode(display=False).flop_registry | {
    aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
}


class Meter(TorchDispatchMode):
    """Counts what the operations inside its `with` block make on one device.

    Counted are storages, from the operation that makes one until nothing refers to it. What a kernel takes for itself
    while it runs, an allocator's rounding and a CUDA context are not.

    Attributes:
        live: bytes now.
        peak: the most that there were at once.
        flops: of matrix products, convolutions and attention, forward and backward; two for a multiply-add.
    """

    def __init__(self, device: str = "meta"):
        super().__init__()
        self.device = device
        self.live = self.peak = self.flops = 0
        self._seen = WeakIdKeyDictionary()

    def hold(self, tensors: Iterable[torch.Tensor]) -> None:
        """Counts tensors that were made before."""
        for tensor in tensors:
            self._see(tensor)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self._see(value)
        formula = FORMULAS.get(function._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result

    def _see(self, tensor: torch.Tensor) -> None:
        if tensor.device.type != self.device:
            return
        storage = tensor.untyped_storage()
        if storage in self._seen:
            return
        size = storage.nbytes()
        # The Python object of a storage lives as long as the storage itself.
        self._seen[storage] = weakref.finalize(storage, self._lose, size)
        self.live += size
        self.peak = max(self.peak, self.live)

    def _lose(self, size: int) -> None:
        self.live -= size
