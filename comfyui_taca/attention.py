"""Eq. 10 of arXiv 2506.07986 as an override of ComfyUI's attention."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

# What ComfyUI's attention functions take after query, key, value and the number of heads, in this order.
_OPTIONS = ("mask", "attn_precision", "skip_reshape", "skip_output_reshape")


class Override:
    """Multiplies the logits of image queries and text keys by gamma, where text and image share one attention call.

    Every other call (text or image alone: refiners, the second attention of Stable Diffusion 3.5) passes as it came.

    Args:
        text, image: how many tokens of each the joint sequence has, text first.
        gamma: a factor for each sample, (B,).
        below: the override that was set already, or None.
    """

    def __init__(self, text: int, image: int, gamma: torch.Tensor, below: Callable | None):
        self.text, self.image, self.gamma, self.below = text, image, gamma, below
        self.lengths: set[int] = set()
        self.acted = False

    def __call__(
        self, func: Callable, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """As `transformer_options["optimized_attention_override"]` is called.

        Args:
            q, k, v: (B, L, H * D), or with `skip_reshape` (B, H, L, D).
        """
        attention = func if self.below is None else partial(self.below, func)
        options = dict(zip(_OPTIONS, args, strict=False)) | kwargs
        dim = 2 if options.get("skip_reshape") else 1
        self.lengths.add(k.shape[dim])
        if not q.shape[dim] == k.shape[dim] == self.text + self.image:
            return attention(q, k, v, heads, **options)
        self.acted = True
        text_query, image_query = q.split([self.text, self.image], dim)
        text_rows, image_rows = self._rows(options.get("mask"))
        text_output = attention(text_query, k, v, heads, **options | text_rows)
        image_output = attention(image_query, self._scaled(k, dim), v, heads, **options | image_rows)
        return torch.cat([text_output, image_output], 2 if options.get("skip_output_reshape") else 1)

    def _scaled(self, k: torch.Tensor, dim: int) -> torch.Tensor:
        """[gamma * K_txt ; K_vis], the product rounded once: bfloat16 has no 1.2, and would scale by 1.203125."""
        text_key, image_key = k.split([self.text, self.image], dim)
        gamma = self.gamma.to(k.device).view(-1, *[1] * (k.ndim - 1))
        precise = text_key.to(torch.promote_types(k.dtype, torch.float32))
        return torch.cat([(precise * gamma).to(k.dtype), image_key], dim)

    def _rows(self, mask: torch.Tensor | None) -> tuple[dict, dict]:
        """The rows of a mask (..., queries, keys) for text and for image; one row serves all queries."""
        if mask is None or mask.ndim < 2 or mask.shape[-2] != self.text + self.image:
            return {}, {}
        text, image = mask.split([self.text, self.image], -2)
        return {"mask": text}, {"mask": image}
