"""Replacement processors in which another method than TACA's gamma acts."""

from functools import partial

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import _AttentionBackendRegistry, dispatch_attention_fn

from taca.attention import split_image_text
from taca.errors import TacaError
from taca.methods import Method, method_attention
from taca.processors.base import TacaProcessor
from taca.tokens import Tokens

METHOD_FAMILIES = ("SD3Transformer2DModel", "FluxTransformer2DModel")
"""Transformers whose text is one run without padding, and whose processors call `TacaProcessor` for attention."""


class MethodProcessor(TacaProcessor):
    """What stands before a family's processor, with a method in the place of gamma.

    Args:
        method: what happens to the text side.
        layer: the number of the attention module, from 0.
        active: on which samples the method acts, (B, 1, 1, 1).
        tokens: as in `TacaProcessor`.
    """

    def __init__(self, method: Method, layer: int, active: torch.Tensor, tokens: Tokens):
        super().__init__(active, tokens)
        self.method = method
        self.layer = layer
        self.active = active

    def follow(self, attn: torch.nn.Module) -> None:
        """As any replacement; refuses what would compute the methods wrongly."""
        super().follow(attn)
        if self._parallel_config is not None:
            raise TacaError("Methods other than gamma need all text keys on one device: turn context parallelism off.")
        backend = self._attention_backend or _AttentionBackendRegistry.get_active_backend()[0].value
        if "sage" in str(backend):
            raise TacaError(
                f"The backend {backend} rounds keys to 8 bits and with them what methods add to logits: "
                "`set_attention_backend('native')`."
            )

    def dispatch(self, query, key, value, num_text_tokens, mask, *, text_first):
        """As `TacaProcessor.dispatch`, by the method."""
        attention = partial(dispatch_attention_fn, attn_mask=mask, backend=self._attention_backend)
        outputs = self._attend(query, key, value, num_text_tokens, attention, text_first, -3)
        return tuple(output.flatten(2, 3).to(query.dtype) for output in outputs)

    def scaled_dot_product(
        self, query, key, value, num_text_tokens, mask=None, *, text_first, text_is_read=True, scale=None
    ):
        """As `TacaProcessor.scaled_dot_product`, by the method."""
        attention = partial(F.scaled_dot_product_attention, attn_mask=mask)
        return self._attend(query, key, value, num_text_tokens, attention, text_first, -2, text_is_read)

    def _attend(self, query, key, value, num_text_tokens, attention, text_first, token_dim, text_is_read=True):
        image_query, text_query = split_image_text(query, num_text_tokens, text_first, query.ndim + token_dim)
        return method_attention(
            image_query,
            text_query if text_is_read else None,
            key,
            value,
            self.active,
            self.method,
            attention,
            layer=self.layer,
            text_first=text_first,
            token_dim=token_dim,
        )


_MADE: dict[type[TacaProcessor], type[MethodProcessor]] = {}


def methodical(kind: type[TacaProcessor]) -> type[MethodProcessor]:
    """A family's replacement processor, with a method in the place of gamma."""
    if kind not in _MADE:
        _MADE[kind] = type(f"{kind.__name__}ByMethod", (MethodProcessor, kind), {})
    return _MADE[kind]
