"""FLUX.1 and FLUX.2: the replacements of diffusers' `FluxAttnProcessor` and the two of FLUX.2."""

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import nn

from taca.processors.base import TacaProcessor, heads_of, joined, projected


class TacaFluxAttnProcessor(TacaProcessor):
    """Joint attention of text and image tokens, in that order, in double-stream and in FLUX.1's single-stream blocks.

    A single-stream block hands over the joint sequence as `hidden_states`; what it gets back is the joint sequence too.
    """

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        query, key, value = _heads(attn, hidden_states, encoder_hidden_states)
        query, key = _rotated(query, key, image_rotary_emb)
        single = encoder_hidden_states is None
        num_text_tokens = self.num_text_tokens if single else encoder_hidden_states.shape[1]
        image_output, text_output = self.dispatch(query, key, value, num_text_tokens, attention_mask, text_first=True)
        if single:
            return torch.cat([text_output, image_output], dim=1)
        return self.project_out(attn, image_output, text_output)

    def project_out(
        self, attn: nn.Module, image_output: torch.Tensor, text_output: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The projections after attention, those of image tokens first."""
        return attn.to_out[1](attn.to_out[0](image_output)), attn.to_add_out(text_output)


class TacaFlux2AttnProcessor(TacaFluxAttnProcessor):
    """FLUX.2's double-stream block, which projects what text tokens read first."""

    def project_out(
        self, attn: nn.Module, image_output: torch.Tensor, text_output: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As FLUX.1's, in the other order."""
        text_output = attn.to_add_out(text_output)
        return attn.to_out[1](attn.to_out[0](image_output)), text_output


class TacaFlux2ParallelSelfAttnProcessor(TacaProcessor):
    """FLUX.2's single-stream block: attention and feed-forward side by side, with one projection in and one out."""

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        projected = attn.to_qkv_mlp_proj(hidden_states)
        # By ratio: under tensor parallelism a rank holds an equal part of both.
        attention_width, feed_forward_width = 3 * attn.inner_dim, attn.mlp_hidden_dim * attn.mlp_mult_factor
        width = projected.shape[-1] * attention_width // (attention_width + feed_forward_width)
        projections, feed_forward = projected.split_with_sizes([width, projected.shape[-1] - width], dim=-1)
        query, key, value = heads_of(projections.chunk(3, dim=-1), attn.head_dim, (attn.norm_q, attn.norm_k))
        query, key = _rotated(query, key, image_rotary_emb)
        outputs = self.dispatch(query, key, value, self.num_text_tokens, attention_mask, text_first=True)
        attended = torch.cat(outputs[::-1], dim=1)
        return attn.to_out(torch.cat([attended, attn.mlp_act_fn(feed_forward)], dim=-1))


def _heads(attn: nn.Module, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor | None):
    """Query, key and value (B, L, H, D) of text and image tokens, in that order, before rotary embedding."""
    image = heads_of(
        projected(attn, hidden_states, fused=attn.fused_projections), attn.head_dim, (attn.norm_q, attn.norm_k)
    )
    if encoder_hidden_states is None:
        return image
    added = projected(attn, encoder_hidden_states, added=True, fused=attn.fused_projections)
    return joined(heads_of(added, attn.head_dim, (attn.norm_added_q, attn.norm_added_k)), image)


def _rotated(query: torch.Tensor, key: torch.Tensor, image_rotary_emb) -> tuple[torch.Tensor, torch.Tensor]:
    if image_rotary_emb is None:
        return query, key
    return tuple(apply_rotary_emb(x, image_rotary_emb, sequence_dim=1) for x in (query, key))
