"""BLIP's image encoder: a pre-norm vision transformer (Dosovitskiy et al., 2021, arXiv 2010.11929).

Modules are named as in the published checkpoint.
"""

import torch
import torch.nn.functional as F
from torch import nn

from compbench.scorers.blip.config import BlipConfig

NORM_EPS = 1e-6


class VisionTransformer(nn.Module):
    """Every token of an image, the class token first."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.image_tokens, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, kernel_size=patch, stride=patch)})
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Pixels (B, 3, size, size), normalised, to hidden states (B, image tokens, width)."""
        patches = self.patch_embed["proj"](pixel_values).flatten(2).transpose(1, 2)
        hidden_states = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            hidden_states = block(hidden_states)
        return self.norm(hidden_states)


class Block(nn.Module):
    """Self-attention and a feed-forward network, each added to what it reads."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        width = config.hidden_size
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, config.num_attention_heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        fc1, fc2 = nn.Linear(width, config.intermediate_size), nn.Linear(config.intermediate_size, width)
        self.mlp = nn.ModuleDict({"fc1": fc1, "fc2": fc2})

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        hidden_states = hidden_states + self.attn(self.norm1(hidden_states))
        return hidden_states + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(hidden_states))))


class Attention(nn.Module):
    """Multi-head self-attention; query, key and value come from one projection."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(hidden_states).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
