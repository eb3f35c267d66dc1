"""HunyuanVideo: the stand-in for diffusers' `HunyuanVideoAttnProcessor2_0` in blocks that hold video tokens."""

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
        single = attn.add_q_proj is None
        head_dim = attn.inner_dim // attn.heads
        own_norms, added_norms = (attn.norm_q, attn.norm_k), (attn.norm_added_q, attn.norm_added_k)
        query, key, value = heads_of(projected(attn, hidden_states), head_dim, own_norms)
        if image_rotary_emb is not None:
            query, key = (apply_rotary_emb(x, image_rotary_emb, sequence_dim=1) for x in (query, key))
        text = heads_of(
            projected(attn, encoder_hidden_states, added=not single), head_dim, own_norms if single else added_norms
        )
        video_output, text_output = self.dispatch(
            *joined((query, key, value), text), encoder_hidden_states.shape[1], attention_mask, text_first=False
        )
        # Single-stream blocks project what comes back themselves.
        if attn.to_out is not None:
            video_output = attn.to_out[1](attn.to_out[0](video_output))
        if attn.to_add_out is not None:
            text_output = attn.to_add_out(text_output)
        return video_output, text_output
