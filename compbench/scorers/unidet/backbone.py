"""What both backbones have in common: a stem and four stages of bottleneck blocks."""

from collections.abc import Callable

import torch
from torch import nn


class BottomUp(nn.Module):
    """A residual network without its classifier.

    Args:
        stem: brings an image to a quarter of its size, with `inputs` channels.
        block: (input channels, inner width, stride) -> a block that gives four times its inner width.
        width: inner width of the first stage; it doubles with each stage.
        blocks: how many blocks each stage has.
    """

    def __init__(
        self, stem: nn.Module, block: Callable[[int, int, int], nn.Module], inputs: int, width: int, blocks: tuple
    ):
        super().__init__()
        self.stem = stem
        for name, count in zip(("res2", "res3", "res4", "res5"), blocks, strict=True):
            stride = 1 if name == "res2" else 2
            first = block(inputs, width, stride)
            inputs = 4 * width
            self.add_module(name, nn.Sequential(first, *(block(inputs, width, 1) for _ in range(count - 1))))
            width *= 2

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The outputs of res3, res4 and res5, at 1/8, 1/16 and 1/32 of the image's size."""
        third = self.res3(self.res2(self.stem(pixels)))
        fourth = self.res4(third)
        return [third, fourth, self.res5(fourth)]
