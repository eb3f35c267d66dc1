"""ResNet as MSRA published it (He et al., 2015, arXiv 1512.03385): a block's stride is in its first 1x1 convolution.

torchvision's ResNet has it in the 3x3 one, so it gives other numbers from the same tensors.
"""

import torch
import torch.nn.functional as F
from torch import nn

from compbench.scorers.unidet.backbone import BottomUp
from compbench.scorers.unidet.layers import NormedConv


class Stem(nn.Module):
    """One 7x7 convolution, and a maximum."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = NormedConv(3, width, 7, stride=2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(F.relu_(self.conv1(pixels)), 3, stride=2, padding=1)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = 4 * width
        self.shortcut = nn.Identity() if inputs == outputs else NormedConv(inputs, outputs, 1, stride)
        self.conv1 = NormedConv(inputs, width, 1, stride)
        self.conv2 = NormedConv(width, width, 3)
        self.conv3 = NormedConv(width, outputs, 1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        inner = F.relu_(self.conv2(F.relu_(self.conv1(hidden_states))))
        return F.relu_(self.conv3(inner) + self.shortcut(hidden_states))


def resnet(width: int, blocks: tuple[int, int, int, int]) -> BottomUp:
    """ResNet-50 is width 64 and blocks (3, 4, 6, 3)."""
    return BottomUp(Stem(width), Bottleneck, width, width, blocks)
