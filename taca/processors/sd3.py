"""Stable Diffusion 3 and 3.5: the stand-in for diffusers' `JointAttnProcessor2_0`."""

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import nn

from taca.attention import Stream, taca_attention


class TacaJointAttnProcessor:
    """Joint attention of image and text tokens with gamma on the image-to-text logits.

    Args:
        gamma: one factor, or a tensor (B, 1, 1, 1) with one for each sample.
        text_first: order of the modalities among the keys.
    """

    def __init__(self, gamma: float | torch.Tensor, text_first: bool):
        self.gamma = gamma
        self.text_first = text_first

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *args,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What image (B, N_vis, C) and text (B, N_txt, C) tokens read; the mask is ignored, as in the stock processor.

        The last block discards its text tokens, so none are computed there and None is returned for them. (The weights
        of their queries then have no gradient; in the stock model it is zero.)
        """
        image = Stream(
            query=_project(attn, attn.to_q, attn.norm_q, hidden_states),
            key=_project(attn, attn.to_k, attn.norm_k, hidden_states),
            value=_project(attn, attn.to_v, None, hidden_states),
        )
        text = Stream(
            query=None
            if attn.context_pre_only
            else _project(attn, attn.add_q_proj, attn.norm_added_q, encoder_hidden_states),
            key=_project(attn, attn.add_k_proj, attn.norm_added_k, encoder_hidden_states),
            value=_project(attn, attn.add_v_proj, None, encoder_hidden_states),
        )
        image_output, text_output = taca_attention(
            image, text, self.gamma, _scaled_dot_product_attention, text_first=self.text_first, token_dim=-2
        )
        image_output = attn.to_out[1](attn.to_out[0](_merge_heads(image_output, image.query.dtype)))
        if text_output is None:
            return image_output, None
        return image_output, attn.to_add_out(_merge_heads(text_output, text.query.dtype))


def _project(attn: Attention, linear: nn.Module, norm: nn.Module | None, hidden_states: torch.Tensor) -> torch.Tensor:
    """(B, L, C) to heads (B, H, L, D), normalised where the model has QK-norm."""
    heads = linear(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
    return heads if norm is None else norm(heads)


def _merge_heads(heads: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(B, H, L, D) to (B, L, C) in the queries' dtype, which autocast's attention call may have left."""
    return heads.transpose(1, 2).flatten(2).to(dtype)


def _scaled_dot_product_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    # Called as the stock processor calls it: SD3 has no choice of attention backend in diffusers.
    return F.scaled_dot_product_attention(query, key, value, dropout_p=0.0, is_causal=False)
