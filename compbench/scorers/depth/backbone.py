"""ViT-B/16 on the first three stages of a ResNet-50 (Dosovitskiy et al., 2021, arXiv 2010.11929), by timm's modules."""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from timm.layers import HybridEmbed, StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from torch import nn

HOOKS = (8, 11)  # blocks whose tokens the decoder reads


@dataclass(frozen=True)
class Sizes:
    """Of the published network, unless said otherwise.

    `stem` and a quarter of each of `channels` are multiples of 32, for the ResNet normalises groups of them. `grid` is
    the side of the patches' grid that the position embeddings were trained for.
    """

    width: int = 768
    heads: int = 12
    stem: int = 64
    layers: tuple[int, int, int] = (3, 4, 9)
    channels: tuple[int, int, int] = (256, 512, 1024)
    features: int = 256
    grid: int = 24


def build_vit(sizes: Sizes) -> VisionTransformer:
    """The network that timm calls `vit_base_r50_s16_384`, without its classifier."""
    resnet = ResNetV2(
        layers=sizes.layers,
        channels=sizes.channels,
        stem_chs=sizes.stem,
        num_classes=0,
        global_pool="",
        preact=False,
        stem_type="same",
        conv_layer=partial(StdConv2dSame, eps=1e-8),
    )
    return VisionTransformer(
        img_size=16 * sizes.grid,
        patch_size=1,  # of the ResNet's last map, which is 16 times smaller than the image
        num_classes=0,
        embed_dim=sizes.width,
        depth=HOOKS[-1] + 1,
        num_heads=sizes.heads,
        embed_layer=partial(HybridEmbed, backbone=resnet),
    )


def features_of(vit: VisionTransformer, pixels: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What the decoder reads of images (batch, 3, height, width), sides multiples of 32.

    Returns: the maps of the ResNet's first two stages, at 1/4 and 1/8 of the size, and the tokens of the blocks
        `HOOKS`, shape (batch, 1 + height / 16 * width / 16, width of the ViT), the class token first.
    """
    resnet = vit.patch_embed.backbone
    first = resnet.stages[0](resnet.stem(pixels))
    second = resnet.stages[1](first)
    patches = vit.patch_embed.proj(resnet.stages[2](second))
    grid = patches.shape[-2:]
    tokens = torch.cat((vit.cls_token.expand(len(pixels), -1, -1), patches.flatten(2).transpose(1, 2)), 1)
    tokens = tokens + _position_embeddings(vit.pos_embed, grid)
    hooked = []
    for number, block in enumerate(vit.blocks):
        tokens = block(tokens)
        if number in HOOKS:
            hooked.append(tokens)
    return [first, second], hooked


def _position_embeddings(trained: nn.Parameter, grid: torch.Size) -> torch.Tensor:
    """The class token's as it is, the patches' stretched bilinearly from their square grid to `grid`."""
    side = round((trained.shape[1] - 1) ** 0.5)
    square = trained[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    stretched = F.interpolate(square, size=tuple(grid), mode="bilinear", align_corners=False)
    return torch.cat((trained[:, :1], stretched.flatten(2).transpose(1, 2)), 1)
