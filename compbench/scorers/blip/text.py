"""BLIP's text transformer: BERT (Devlin et al., 2019, arXiv 1810.04805) with a cross-attention in every layer.

Modules are named as in the published checkpoint.
"""

import torch
import torch.nn.functional as F
from torch import nn

from compbench.scorers.blip.config import BlipConfig

NORM_EPS = 1e-12


class Bert(nn.Module):
    """Tokens that read each other and then a memory: an image's tokens, or a question's."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))})

    def forward(
        self,
        input_ids: torch.Tensor,
        mask: torch.Tensor | None,
        memory: torch.Tensor,
        memory_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Hidden states (B, L, width).

        Args:
            input_ids: (B, L).
            mask: (B, L), True for tokens that are read; None for all.
            memory: (B, M, width).
            memory_mask: (B, M), likewise.
        """
        hidden_states = self.embeddings(input_ids)
        for layer in self.encoder["layer"]:
            hidden_states = layer(hidden_states, mask, memory, memory_mask)
        return hidden_states


class Embeddings(nn.Module):
    """Words and positions; BLIP has no token types."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        positions = self.position_embeddings.weight[: input_ids.shape[1]]
        return self.LayerNorm(self.word_embeddings(input_ids) + positions)


class Layer(nn.Module):
    """Self-attention, cross-attention and a feed-forward network."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.attention = SelfAttention(config)
        self.crossattention = CrossAttention(config)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = AddNorm(inner, width)

    def forward(self, hidden_states, mask, memory, memory_mask) -> torch.Tensor:
        hidden_states = self.attention(hidden_states, mask)
        hidden_states = self.crossattention(hidden_states, memory, memory_mask)
        return self.output(F.gelu(self.intermediate["dense"](hidden_states)), hidden_states)


class AddNorm(nn.Module):
    """Projects, adds what was read, and normalises."""

    def __init__(self, width_in: int, width: int):
        super().__init__()
        self.dense = nn.Linear(width_in, width)
        self.LayerNorm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, hidden_states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dense(hidden_states) + residual)


class Attention(nn.Module):
    """The projections that both kinds of attention have."""

    def __init__(self, config: BlipConfig):
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.self = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.output = AddNorm(width, width)

    def split(self, tensor: torch.Tensor) -> torch.Tensor:
        """(B, L, width) to (B, heads, L, head width)."""
        return tensor.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class SelfAttention(Attention):
    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        if hidden_states.shape[1] == 1:
            # A lone token gives itself all its attention: what it reads is its value.
            return self.output(self.self["value"](hidden_states), hidden_states)
        query, key, value = (self.split(self.self[name](hidden_states)) for name in ("query", "key", "value"))
        # The reference adds -10000 for padding, of which the softmax in float32 leaves exactly 0, as it does here.
        attn_mask = None if mask is None else mask[:, None, None, :]
        read = F.scaled_dot_product_attention(query, key, value, attn_mask)
        return self.output(read.transpose(1, 2).flatten(2), hidden_states)


class CrossAttention(Attention):
    """Attention of a few tokens to a long memory, which is never projected.

    With W_k split by heads, q·(W_k m + b_k) = (W_k' q)·m + q·b_k. The last term is the same for all of the memory, so
    that the softmax cancels it, and as its weights sum to 1, W_v and b_v can wait until after the sum. A question has
    about 7 tokens and an image 901: this takes a quarter of the time, and no keys and values have to be kept.
    """

    def forward(
        self, hidden_states: torch.Tensor, memory: torch.Tensor, memory_mask: torch.Tensor | None
    ) -> torch.Tensor:
        query = self.split(self.self["query"](hidden_states))
        width = query.shape[-1]
        key_weight = self.self["key"].weight.unflatten(0, (self.heads, -1))
        # All heads' queries now have the memory's width: (B, heads * L, M) logits in one product.
        folded = (query @ key_weight).flatten(1, 2)
        logits = folded @ memory.transpose(1, 2) * width**-0.5
        if memory_mask is not None:
            logits = logits.masked_fill(~memory_mask[:, None, :], float("-inf"))
        read = (logits.softmax(-1) @ memory).unflatten(1, (self.heads, -1))
        value_weight = self.self["value"].weight.unflatten(0, (self.heads, -1))
        heads = read @ value_weight.transpose(1, 2)
        return self.output(heads.transpose(1, 2).flatten(2) + self.self["value"].bias, hidden_states)
