"""Qwen-Image: the replacement of diffusers' `QwenDoubleStreamAttnProcessor2_0`."""

import torch
from diffusers.models.transformers.transformer_qwenimage import apply_rotary_emb_qwen
from torch import nn

from taca.errors import TacaError
from taca.processors.base import TacaProcessor, heads_of, joined, projected


class TacaQwenDoubleStreamAttnProcessor(TacaProcessor):
    """Joint attention of text and image tokens, in that order; padded text is masked for all queries."""

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor = None,
        encoder_hidden_states_mask: torch.Tensor = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if attention_mask is not None:
            raise TacaError("Qwen-Image takes no `attention_mask`: pass `encoder_hidden_states_mask`.")
        joint = _heads(attn, hidden_states, encoder_hidden_states, image_rotary_emb)
        mask = _joint_mask(encoder_hidden_states_mask, hidden_states)
        image_output, text_output = self.dispatch(*joint, encoder_hidden_states.shape[1], mask, text_first=True)
        image_output = attn.to_out[0](image_output)
        if len(attn.to_out) > 1:
            image_output = attn.to_out[1](image_output)
        return image_output, attn.to_add_out(text_output)


def _heads(attn: nn.Module, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, image_rotary_emb):
    """Query, key and value (B, L, H, D) of text and image tokens, in that order."""
    head_dim = attn.inner_dim // attn.heads
    image = heads_of(projected(attn, hidden_states), head_dim, (attn.norm_q, attn.norm_k))
    added = projected(attn, encoder_hidden_states, added=True)
    text = heads_of(added, head_dim, (attn.norm_added_q, attn.norm_added_k))
    if image_rotary_emb is not None:
        image, text = (_rotated(*heads, rope) for heads, rope in zip((image, text), image_rotary_emb, strict=True))
    return joined(text, image)


def _rotated(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rope: torch.Tensor):
    return *(apply_rotary_emb_qwen(x, rope, use_real=False) for x in (query, key)), value


def _joint_mask(text_mask: torch.Tensor | None, hidden_states: torch.Tensor) -> torch.Tensor | None:
    """Which keys may be read, (B, 1, 1, L), from which text tokens are none of the padding, (B, N_txt)."""
    if text_mask is None:
        return None
    image_mask = torch.ones(hidden_states.shape[:2], dtype=torch.bool, device=hidden_states.device)
    return torch.cat([text_mask, image_mask], dim=1)[:, None, None, :]
