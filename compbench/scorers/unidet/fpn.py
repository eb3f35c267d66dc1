"""Feature pyramid (Lin et al., 2017, arXiv 1612.03144) with two more levels, as RetinaNet has them."""

import torch
import torch.nn.functional as F
from torch import nn

from compbench.scorers.unidet.backbone import BottomUp
from compbench.scorers.unidet.layers import NormedConv

STRIDES = (8, 16, 32, 64, 128)  # pixels of the image per cell of p3..p7


class TopBlock(nn.Module):
    """p6 from the output p5, p7 from p6."""

    def __init__(self, channels: int):
        super().__init__()
        self.p6 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, fifth: torch.Tensor) -> list[torch.Tensor]:
        sixth = self.p6(fifth)
        return [sixth, self.p7(F.relu(sixth))]


class FeaturePyramid(nn.Module):
    """Levels p3..p7 of an image whose sides are multiples of 32.

    Args:
        inputs: channels of the three outputs of `bottom_up`.
        normed: whether convolutions are normalised; those that are not have a bias.
    """

    def __init__(self, bottom_up: BottomUp, inputs: tuple[int, int, int], channels: int, normed: bool):
        super().__init__()
        self.bottom_up = bottom_up
        for level, width in zip((3, 4, 5), inputs, strict=True):
            self.add_module(f"fpn_lateral{level}", _convolution(width, channels, 1, normed))
            self.add_module(f"fpn_output{level}", _convolution(channels, channels, 3, normed))
        self.top_block = TopBlock(channels)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """p3..p7, each of shape (batch, channels, height / stride, width / stride), rounded up."""
        third, fourth, fifth = self.bottom_up(pixels)
        fifth = self.fpn_lateral5(fifth)
        fourth = self.fpn_lateral4(fourth) + F.interpolate(fifth, scale_factor=2, mode="nearest")
        third = self.fpn_lateral3(third) + F.interpolate(fourth, scale_factor=2, mode="nearest")
        outputs = [self.fpn_output3(third), self.fpn_output4(fourth), self.fpn_output5(fifth)]
        return outputs + self.top_block(outputs[-1])


def _convolution(inputs: int, outputs: int, kernel: int, normed: bool) -> nn.Conv2d:
    if normed:
        return NormedConv(inputs, outputs, kernel)
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
