"""A stand-in for bitsandbytes' 4-bit layers on the meta device, as far as memory goes: they need a GPU to be made."""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import nn

BLOCK = 64  # weights that share a scale, bitsandbytes' default


class FourBitLinear(nn.Linear):
    """Two weights in a byte and a float32 scale for each block of them; multiplied in the input's format.

    Args:
        linear: the layer that it takes the place of.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        count = linear.weight.numel()
        packed = torch.empty(count // 2, 1, dtype=torch.uint8, device="meta")
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.register_buffer("scales", torch.empty(count // BLOCK, device="meta"))
        self.bias = linear.bias

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return _Multiplied.apply(hidden_states, self.weight, self.bias, (self.out_features, self.in_features))


class _Multiplied(torch.autograd.Function):
    """Unpacks all weights of a layer for each product, forward and backward, and keeps no input (`MatMul4Bit`)."""

    @staticmethod
    def forward(ctx, hidden_states, packed, bias, shape):
        ctx.shape = shape
        return F.linear(hidden_states, hidden_states.new_empty(shape), bias)

    @staticmethod
    def backward(ctx, gradient):
        return gradient @ gradient.new_empty(ctx.shape), None, None, None


def quantize(model: nn.Module, skipped: Collection[str] = ()) -> None:
    """Replaces linear layers by 4-bit ones, but for those whose own name, or that of what they are in, is `skipped`."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and not set(skipped) & set(name.split(".")):
            model.set_submodule(name, FourBitLinear(module))
