"""CogVideoX: the replacement of diffusers' `CogVideoXAttnProcessor2_0`."""

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import apply_rotary_emb

from taca.processors.base import TacaProcessor, heads_of, projected


class TacaCogVideoXAttnProcessor(TacaProcessor):
    """Joint attention of text and video tokens, in that order, with one set of projections for both.

    As in the stock processor, the choice of attention backend is ignored.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        num_text_tokens = encoder_hidden_states.shape[1]
        joint = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, joint.shape[1], joint.shape[0])
            attention_mask = attention_mask.view(joint.shape[0], attn.heads, -1, attention_mask.shape[-1])
        query, key, value = self._heads(attn, joint, num_text_tokens, image_rotary_emb)
        outputs = self.scaled_dot_product(query, key, value, num_text_tokens, attention_mask, text_first=True)
        # One projection of the joint sequence, as in the stock processor: offloading and quantization count calls.
        merged = torch.cat(outputs[::-1], dim=2).transpose(1, 2).flatten(2)
        text_output, video_output = attn.to_out[1](attn.to_out[0](merged)).split_with_sizes(
            [num_text_tokens, merged.shape[1] - num_text_tokens], dim=1
        )
        return video_output, text_output

    def _heads(self, attn: Attention, joint: torch.Tensor, num_text_tokens: int, image_rotary_emb):
        """Query, key and value (B, H, L, D)."""
        head_dim = attn.inner_dim // attn.heads
        heads = heads_of(projected(attn, joint, fused=self.fused), head_dim, (attn.norm_q, attn.norm_k))
        query, key, value = (x.transpose(1, 2) for x in heads)
        return *(_video_rotated(x, num_text_tokens, image_rotary_emb) for x in (query, key)), value


def _video_rotated(heads: torch.Tensor, num_text_tokens: int, image_rotary_emb) -> torch.Tensor:
    """Rotary embedding on the video tokens of (B, H, L, D)."""
    if image_rotary_emb is None:
        return heads
    text, video = heads.split_with_sizes([num_text_tokens, heads.shape[2] - num_text_tokens], dim=2)
    return torch.cat([text, apply_rotary_emb(video, image_rotary_emb)], dim=2)
