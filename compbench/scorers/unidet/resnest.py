"""ResNeSt (Zhang et al., 2020, arXiv 2004.08955): radix 2, deep stem, pooling where ResNet strides."""

import torch
import torch.nn.functional as F
from torch import nn

from compbench.scorers.unidet.backbone import BottomUp
from compbench.scorers.unidet.layers import FrozenNorm, NormedConv

RADIX = 2


class DeepStem(nn.Module):
    """Three 3x3 convolutions in place of a 7x7 one, and a maximum."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1_1 = NormedConv(3, width, 3, stride=2)
        self.conv1_2 = NormedConv(width, width, 3)
        self.conv1_3 = NormedConv(width, 2 * width, 3)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        for convolution in (self.conv1_1, self.conv1_2, self.conv1_3):
            hidden_states = F.relu_(convolution(hidden_states))
        return F.max_pool2d(hidden_states, 3, stride=2, padding=1)


class SplitAttention(nn.Module):
    """A 3x3 convolution into two splits, of which each channel takes a weighted sum (the paper's section 3).

    The weights come from a mean over the whole map, padding included: a padded image has other features everywhere.
    """

    def __init__(self, width: int):
        super().__init__()
        squeezed = max(width * RADIX // 4, 32)
        self.conv = nn.Conv2d(width, RADIX * width, 3, padding=1, groups=RADIX, bias=False)
        self.bn0 = FrozenNorm(RADIX * width)
        self.fc1 = nn.Conv2d(width, squeezed, 1)
        self.bn1 = FrozenNorm(squeezed)
        self.fc2 = nn.Conv2d(squeezed, RADIX * width, 1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        first, second = F.relu_(self.bn0(self.conv(hidden_states))).chunk(RADIX, dim=1)
        squeezed = F.relu_(self.bn1(self.fc1(F.adaptive_avg_pool2d(first + second, 1))))
        # (batch, radix, width, 1, 1): the softmax is over the splits.
        attention = self.fc2(squeezed).unflatten(1, (RADIX, -1)).softmax(1)
        return first * attention[:, 0] + second * attention[:, 1]


class PooledShortcut(NormedConv):
    """Takes means, at the border of what is there, and then projects."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__(inputs, outputs, 1)
        self.pool_stride = stride

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if self.pool_stride > 1:
            hidden_states = F.avg_pool2d(hidden_states, self.pool_stride, ceil_mode=True, count_include_pad=False)
        return super().forward(hidden_states)


class Bottleneck(nn.Module):
    """Strides by a mean after the attention."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = 4 * width
        self.shortcut = nn.Identity() if inputs == outputs else PooledShortcut(inputs, outputs, stride)
        self.conv1 = NormedConv(inputs, width, 1)
        self.conv2 = SplitAttention(width)
        self.pool = nn.Identity() if stride == 1 else nn.AvgPool2d(3, stride, padding=1)
        self.conv3 = NormedConv(width, outputs, 1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        inner = self.pool(self.conv2(F.relu_(self.conv1(hidden_states))))
        return F.relu_(self.conv3(inner) + self.shortcut(hidden_states))


def resnest(width: int, blocks: tuple[int, int, int, int]) -> BottomUp:
    """ResNeSt-200 is width 64 and blocks (3, 24, 36, 3)."""
    return BottomUp(DeepStem(width), Bottleneck, 2 * width, width, blocks)
