"""DPT-Hybrid (Ranftl et al., 2021, arXiv 2103.13413): a hybrid ViT's features, fused from coarse to fine into depth."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from compbench.scorers.depth.backbone import Sizes, build_vit, features_of


class DptHybrid(nn.Module):
    """Inverse depth up to scale and shift: larger is nearer, never negative."""

    def __init__(self, sizes: Sizes | None = None):
        """
        Args:
            sizes: of the published network if None.
        """
        super().__init__()
        sizes = sizes or Sizes()
        self.pretrained = nn.ModuleDict(
            {
                "model": build_vit(sizes),
                "act_postprocess3": Reassemble(sizes.width),
                "act_postprocess4": Reassemble(sizes.width, downsampled=True),
            }
        )
        inputs = (*sizes.channels[:2], sizes.width, sizes.width)
        self.scratch = nn.ModuleDict(
            {
                f"layer{level}_rn": nn.Conv2d(channels, sizes.features, 3, padding=1, bias=False)
                for level, channels in enumerate(inputs, start=1)
            }
            | {f"refinenet{level}": Fusion(sizes.features, joins=level < 4) for level in range(1, 5)}
            | {"output_conv": _head(sizes.features)}
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Depth, shape (batch, height, width), of images (batch, 3, height, width) in [-1, 1]; sides are 32 times n."""
        maps, tokens = features_of(self.pretrained["model"], pixels)
        grid = (pixels.shape[-2] // 16, pixels.shape[-1] // 16)
        maps += [
            self.pretrained[f"act_postprocess{level}"](one, grid) for level, one in zip((3, 4), tokens, strict=True)
        ]
        fused = None
        for level in (4, 3, 2, 1):
            fused = self.scratch[f"refinenet{level}"](self.scratch[f"layer{level}_rn"](maps[level - 1]), fused)
        return self.scratch["output_conv"](fused).squeeze(1)


class Reassemble(nn.Sequential):
    """Tokens back to a map, the class token told to each (the paper's "project"); numbered as in the checkpoint."""

    def __init__(self, width: int, downsampled: bool = False):
        layers = OrderedDict({"0": Readout(width), "3": nn.Conv2d(width, width, 1)})
        if downsampled:
            layers["4"] = nn.Conv2d(width, width, 3, stride=2, padding=1)
        super().__init__(layers)

    def forward(self, tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Shape (batch, width, *grid), or half of that, from (batch, 1 + cells of the grid, width)."""
        readout, *convolutions = self
        hidden_states = readout(tokens).transpose(1, 2).unflatten(2, grid)
        for convolution in convolutions:
            hidden_states = convolution(hidden_states)
        return hidden_states


class Readout(nn.Module):
    """Joins the class token to every other token."""

    def __init__(self, width: int):
        super().__init__()
        self.project = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        patches = tokens[:, 1:]
        return self.project(torch.cat((patches, tokens[:, :1].expand_as(patches)), -1))


class Fusion(nn.Module):
    """Adds a level's map to what the coarser ones gave, and doubles the size. The coarsest level has none to join."""

    def __init__(self, channels: int, joins: bool):
        super().__init__()
        if joins:
            self.resConfUnit1 = ResidualUnit(channels)
        self.resConfUnit2 = ResidualUnit(channels)
        self.out_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, level: torch.Tensor, coarser: torch.Tensor | None) -> torch.Tensor:
        hidden_states = level if coarser is None else coarser + self.resConfUnit1(level)
        hidden_states = self.resConfUnit2(hidden_states)
        return self.out_conv(F.interpolate(hidden_states, scale_factor=2, mode="bilinear", align_corners=True))


class ResidualUnit(nn.Module):
    """Two convolutions with their activations before them, beside the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states + self.conv2(F.relu(self.conv1(F.relu(hidden_states))))


def _head(features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(features, features // 2, 3, padding=1),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        nn.Conv2d(features // 2, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 1),
        nn.ReLU(),
    )
