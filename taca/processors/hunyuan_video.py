"""HunyuanVideo: the replacement of diffusers' `HunyuanVideoAttnProcessor2_0` in blocks that hold video tokens."""

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import apply_rotary_emb

from taca.processors.base import TacaProcessor, heads_of, joined, projected


class TacaHunyuanVideoAttnProcessor(TacaProcessor):
    """Joint attention of video and text tokens, in that order; padded text is masked for all queries.

    Double-stream blocks have projections for the text, single-stream blocks share theirs.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        num_text_tokens = encoder_hidden_states.shape[1]
        single = attn.add_q_proj is None
        head_dim = attn.inner_dim // attn.heads
        if single:
            hidden_states = torch.cat([hidden_states, encoder_hidden_states], dim=1)
        query, key, value = heads_of(projected(attn, hidden_states), head_dim, (attn.norm_q, attn.norm_k))
        if image_rotary_emb is not None:
            query, key = (_video_rotated(x, num_text_tokens if single else 0, image_rotary_emb) for x in (query, key))
        if not single:
            added = projected(attn, encoder_hidden_states, added=True)
            text = heads_of(added, head_dim, (attn.norm_added_q, attn.norm_added_k))
            query, key, value = joined((query, key, value), text)
        video_output, text_output = self.dispatch(query, key, value, num_text_tokens, attention_mask, text_first=False)
        # Single-stream blocks project what comes back themselves.
        if attn.to_out is not None:
            video_output = attn.to_out[1](attn.to_out[0](video_output))
        if attn.to_add_out is not None:
            text_output = attn.to_add_out(text_output)
        return video_output, text_output


def _video_rotated(heads: torch.Tensor, num_text_tokens: int, image_rotary_emb) -> torch.Tensor:
    """Rotary embedding on all tokens of (B, L, H, D) but the last ones, which are text."""
    video, text = heads.split_with_sizes([heads.shape[1] - num_text_tokens, num_text_tokens], dim=1)
    return torch.cat([apply_rotary_emb(video, image_rotary_emb, sequence_dim=1), text], dim=1)
