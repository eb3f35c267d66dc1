"""Joint attention with its image-to-text logits multiplied by gamma: Eq. 10 of arXiv 2506.07986.

The rows of a softmax are independent, so image queries may see other keys than text queries do. Image queries over
[gamma * K_txt ; K_vis] and text queries over [K_txt ; K_vis] are two plain attention calls, which together do the work
of the one that they replace. (Scaling the text keys is the paper's Listing 2, there with two full-length calls;
splitting the queries is, to our knowledge, new.)
"""

from collections.abc import Callable

import torch

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Attention of (query, key, value), which decides on kernel, scale and mask."""


def scale_text_keys(text_key: torch.Tensor, gamma: float | torch.Tensor) -> torch.Tensor:
    """gamma * K_txt, computed in float32 or better and rounded once, to the key's dtype.

    bfloat16 has no 1.2: rounding gamma first would scale every key by 1.203125.

    Args:
        text_key: text keys, batch first.
        gamma: one factor, or one for each sample, broadcastable to `text_key`.
    """
    precise = text_key.to(torch.promote_types(text_key.dtype, torch.float32))
    if isinstance(gamma, torch.Tensor):
        gamma = gamma.to(precise.device)
    return (precise * gamma).to(text_key.dtype)


def taca_attention(
    image_query: torch.Tensor,
    text_query: torch.Tensor | None,
    key: torch.Tensor,
    value: torch.Tensor,
    gamma: float | torch.Tensor,
    attention: Attention,
    *,
    text_first: bool,
    token_dim: int,
    text_attention: Attention | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Eq. 10 as two calls of `attention`, on projections after QK-norm and rotary embedding, already split into heads.

    Args:
        image_query: queries of the N_vis image tokens, in the layout that `attention` takes.
        text_query: queries of the N_txt text tokens, or None where a block discards what they would read.
        key, value: the joint sequence of N_vis + N_txt tokens, in the same layout.
        gamma: one factor, or a tensor (B, 1, 1, 1) with one for each sample.
        attention: called on N_vis (or N_txt) queries and all keys and values.
        text_first: order of the two modalities among the keys.
        token_dim: dimension of the tokens: -2 in (B, H, L, D), -3 in (B, L, H, D).
        text_attention: called on the text queries in the place of `attention`, where their rows of a mask differ.

    Returns:
        What image queries and text queries read, shaped like the queries; None for absent text queries.
    """
    image_output = attention(image_query, _scaled_keys(image_query, key, gamma, text_first, token_dim), value)
    if text_query is None:
        return image_output, None
    return image_output, (text_attention or attention)(text_query, key, value)


def _scaled_keys(image_query, key, gamma, text_first: bool, token_dim: int) -> torch.Tensor:
    """[gamma * K_txt ; K_vis] in the order of `key`: the only copy that TACA makes."""
    num_image_tokens = image_query.shape[token_dim]
    num_text_tokens = key.shape[token_dim] - num_image_tokens
    if text_first:
        text_key, image_key = key.split_with_sizes([num_text_tokens, num_image_tokens], dim=token_dim)
        return torch.cat([scale_text_keys(text_key, gamma), image_key], dim=token_dim)
    image_key, text_key = key.split_with_sizes([num_image_tokens, num_text_tokens], dim=token_dim)
    return torch.cat([image_key, scale_text_keys(text_key, gamma)], dim=token_dim)


def split_image_text(
    joint: torch.Tensor, num_text_tokens: int, text_first: bool, dim: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The image tokens and the text tokens of a joint sequence."""
    num_image_tokens = joint.shape[dim] - num_text_tokens
    if text_first:
        text, image = joint.split_with_sizes([num_text_tokens, num_image_tokens], dim=dim)
    else:
        image, text = joint.split_with_sizes([num_image_tokens, num_text_tokens], dim=dim)
    return image, text


def split_mask(
    mask: torch.Tensor | None, num_text_tokens: int, text_first: bool
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """A mask's rows for image queries and for text queries; one row, or none, serves both."""
    if mask is None or mask.ndim < 3 or mask.shape[-2] == 1:
        return mask, mask
    return split_image_text(mask, num_text_tokens, text_first, -2)


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
