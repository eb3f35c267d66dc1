"""Joint attention with its image-to-text logits multiplied by gamma: Eq. 10 of arXiv 2506.07986.

The rows of a softmax are independent, so image queries may see other keys than text queries do. Image queries over
[gamma * K_txt ; K_vis] and text queries over [K_txt ; K_vis] are two plain attention calls, which together do the work
of the one that they replace. (Scaling the text keys is the paper's Listing 2, there with two full-length calls;
splitting the queries is, to our knowledge, new.)
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Attention of (query, key, value), which decides on kernel, scale and mask."""


class Stream(NamedTuple):
    """The projections of one modality's tokens, after QK-norm and rotary embedding, heads apart.

    `query` is None where a block discards what the modality would read.
    """

    query: torch.Tensor | None
    key: torch.Tensor
    value: torch.Tensor


def scale_text_keys(text_key: torch.Tensor, gamma: float | torch.Tensor) -> torch.Tensor:
    """gamma * K_txt, computed in float32 or better and rounded once, to the key's dtype.

    bfloat16 has no 1.2: rounding gamma first would scale every key by 1.203125.

    Args:
        text_key: text keys, batch first.
        gamma: one factor, or one for each sample, broadcastable to `text_key`.
    """
    precise = text_key.to(torch.promote_types(text_key.dtype, torch.float32))
    return (precise * gamma).to(text_key.dtype)


def taca_attention(
    image: Stream,
    text: Stream,
    gamma: float | torch.Tensor,
    attention: Attention,
    *,
    text_first: bool,
    token_dim: int,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Eq. 10 as two calls of `attention`.

    Args:
        image: projections of N_vis image tokens, in the layout that `attention` takes.
        text: projections of N_txt text tokens, in the same layout.
        gamma: one factor, or a tensor (B, 1, 1, 1) with one for each sample.
        attention: called on N_vis (or N_txt) queries and N_vis + N_txt keys and values.
        text_first: order of the two modalities among the keys.
        token_dim: dimension of the tokens: -2 in (B, H, L, D), -3 in (B, L, H, D).

    Returns:
        What image queries and text queries read, shaped like the queries; None for absent text queries.
    """

    def join(image_tokens: torch.Tensor, text_tokens: torch.Tensor) -> torch.Tensor:
        parts = (text_tokens, image_tokens) if text_first else (image_tokens, text_tokens)
        return torch.cat(parts, dim=token_dim)

    value = join(image.value, text.value)
    image_output = attention(image.query, join(image.key, scale_text_keys(text.key, gamma)), value)
    if text.query is None:
        return image_output, None
    return image_output, attention(text.query, join(image.key, text.key), value)


def explicit_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_text: torch.Tensor, gamma: float | torch.Tensor
) -> torch.Tensor:
    """Eq. 10 as it is written, every logit in memory: the reference for `taca_attention`.

    Args:
        query, key, value: the joint sequence, (B, H, L, D).
        is_text: (L,) boolean, True for text tokens.
        gamma: one factor, or a tensor (B, 1, 1, 1) with one for each sample.
    """
    logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    image_to_text = ~is_text[:, None] & is_text[None, :]
    # Eq. 10: gamma on the image-query, text-key logits alone, in the numerator and in the denominator.
    return torch.where(image_to_text, gamma * logits, logits).softmax(dim=-1) @ value
