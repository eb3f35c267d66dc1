"""Eq. 10 in any stock transformer, by watching its attention: nothing here knows a family.

Which keys are text and which queries are image tokens is seen by replacing the prompt's embeddings, and the latents,
and looking at which keys and queries change. Nothing is mixed meanwhile: attention found to be joint reads zeros.
"""

from collections.abc import Callable
from contextlib import contextmanager
from unittest.mock import patch

import torch
import torch.nn.functional as F

_STOCK = F.scaled_dot_product_attention

Predict = Callable[[dict], torch.Tensor]
Joint = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""By the number of the call: its text keys (B, L) and its image queries (B, L)."""


@torch.no_grad()
def joint_attention(
    predict: Predict, arguments: dict, other_prompt: dict, other_latents: dict, other_drawn: dict | None = None
) -> Joint:
    """Which attention calls of a forward pass let image queries meet text and image keys, and where these are.

    Args:
        predict: makes the pass with arguments.
        arguments, other_prompt, other_latents: of three passes that differ in the prompt, or in the latents, alone.
        other_drawn: of one that differs in the image that is drawn alone, if the latents are of other images too whose
            queries stay as they are.
    """
    joint: Joint = {}
    while True:
        passes = (arguments, other_prompt, other_latents, other_drawn or other_latents)
        seen = zip(*(attention_calls(predict, given, joint) for given in passes), strict=True)
        for number, ((query, key), (_, prompt_key), (_, image_key), (drawn_query, _)) in enumerate(seen):
            image = changed_tokens(key, image_key)
            text = changed_tokens(key, prompt_key) & ~image
            if number not in joint and text.any() and image.any():
                joint[number] = (text, changed_tokens(query, drawn_query))
                break
        else:
            return joint


@contextmanager
def explicit_taca(joint: Joint, gamma: float | torch.Tensor):
    """Every logit written out, in the stock model; gamma is one factor, or one for each sample (B,)."""
    calls = iter(range(10**6))

    def attention(query, key, value, attn_mask=None, **options):
        number = next(calls)
        if number not in joint:
            return _STOCK(query, key, value, attn_mask=attn_mask, **options)
        text, image = joint[number]
        factor = torch.as_tensor(gamma, dtype=query.dtype).reshape(-1, 1, 1, 1)
        if len(query) == 1 < len(factor):
            # A call for each sample, one after the other.
            factor = factor[sorted(joint).index(number) % len(factor)]
        return _explicit(
            query, key, value, attn_mask, image[:, None, :, None] & text[:, None, None, :], factor, **options
        )

    with _attention(attention):
        yield


def _explicit(query, key, value, mask, image_to_text, gamma, scale=None, enable_gqa=False, **_):
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    logits = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    logits = torch.where(image_to_text, gamma * logits, logits)
    if mask is not None and mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        logits = logits + mask
    # A row that may read nothing reads zeros.
    return logits.softmax(dim=-1).nan_to_num() @ value


def attention_calls(predict: Predict, arguments: dict, joint: Joint) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Queries and keys of each call."""
    seen = []

    def attention(query, key, value, *more, **options):
        seen.append((query.clone(), key.clone()))
        if len(seen) - 1 in joint:
            return query.new_zeros(*query.shape[:-1], value.shape[-1])
        return _STOCK(query, key, value, *more, **options)

    with _attention(attention):
        predict(arguments)
    return seen


@contextmanager
def _attention(function):
    """diffusers' dispatcher calls PyTorch's attention by this name, as processors without it do."""
    with patch.object(F, "scaled_dot_product_attention", function):
        yield


def changed_tokens(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Which tokens of (B, H, L, D) differ, (B, L)."""
    return (one != other).any(dim=-1).any(dim=1)
