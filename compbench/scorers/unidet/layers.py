"""Convolution and normalisation whose tensors are named as in detectron2's checkpoints."""

import torch
import torch.nn.functional as F
from torch import nn


class FrozenNorm(nn.Module):
    """Batch normalisation by statistics that no longer change."""

    def __init__(self, channels: int):
        super().__init__()
        for name, value in {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}.items():
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(hidden_states, self.running_mean, self.running_var, self.weight, self.bias, eps=1e-5)


class NormedConv(nn.Conv2d):
    """A convolution without bias, normalised; its output has the size of its input divided by `stride`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = FrozenNorm(outputs)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.norm(super().forward(hidden_states))
