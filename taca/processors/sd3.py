"""Stable Diffusion 3 and 3.5: the replacement of diffusers' `JointAttnProcessor2_0`."""

import torch
from diffusers.models.attention_processor import Attention

from taca.errors import TacaError
from taca.processors.base import TacaProcessor, heads_of, joined, projected


class TacaJointAttnProcessor(TacaProcessor):
    """Joint attention of image and text tokens, in that order.

    As in the stock processor, the choice of attention backend is ignored.
    """

    def follow(self, attn: Attention) -> None:
        """As any replacement; refuses fused projections with QK-norm, which diffusers' fused processor leaves out."""
        super().follow(attn)
        if self.fused and attn.norm_q is not None:
            raise TacaError(
                "diffusers' fused processor of SD3 leaves out QK-norm, so Stable Diffusion 3.5 gives wrong images with "
                "it: call `unfuse_qkv_projections()`."
            )

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

        The last block discards its text tokens, so none are computed there and None is returned for them.
        """
        query, key, value = (x.transpose(1, 2) for x in self._heads(attn, hidden_states, encoder_hidden_states))
        image_output, text_output = self.scaled_dot_product(
            query,
            key,
            value,
            encoder_hidden_states.shape[1],
            text_first=False,
            text_is_read=not attn.context_pre_only,
        )
        if text_output is not None:
            text_output = attn.to_add_out(_merge_heads(text_output, query.dtype))
        return attn.to_out[1](attn.to_out[0](_merge_heads(image_output, query.dtype))), text_output

    def _heads(self, attn: Attention, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor):
        """Query, key and value (B, L, H, D) of image and text tokens, in that order."""
        head_dim = attn.inner_dim // attn.heads
        image = heads_of(projected(attn, hidden_states, fused=self.fused), head_dim, (attn.norm_q, attn.norm_k))
        added = projected(attn, encoder_hidden_states, added=True, fused=self.fused)
        return joined(image, heads_of(added, head_dim, (attn.norm_added_q, attn.norm_added_k)))


def _merge_heads(heads: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(B, H, L, D) to (B, L, C) in the queries' dtype, which autocast's attention call may have left."""
    return heads.transpose(1, 2).flatten(2).to(dtype)
