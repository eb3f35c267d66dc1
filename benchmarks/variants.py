"""Ways to compute Eq. 10, on one attention and in the blocks of a transformer."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import flex_attention

from taca.attention import explicit_attention, taca_attention
from taca.families import attention_modules, family_of
from taca.processors import TacaFluxAttnProcessor, TacaJointAttnProcessor
from taca.processors.swap import Processors
from taca.tokens import Run

GAMMA = 1.2
Variant = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes query, key and value (B, H, L, D) of the joint sequence and returns what all of its tokens read."""


def variants(image_tokens: int, text_tokens: int, text_first: bool, device: str) -> dict[str, Variant]:
    """All of them by name. `plain` is attention without gamma, timed twice: what it differs by is the spread."""
    sizes = [text_tokens, image_tokens] if text_first else [image_tokens, text_tokens]
    position = torch.arange(sum(sizes), device=device)
    is_text = position < text_tokens if text_first else position >= image_tokens
    gamma = torch.full((1, 1, 1, 1), GAMMA, device=device)

    def plain(query, key, value):
        return F.scaled_dot_product_attention(query, key, value)

    def ours(query, key, value):
        parts = query.split_with_sizes(sizes, dim=-2)
        image_query, text_query = parts[::-1] if text_first else parts
        attention = F.scaled_dot_product_attention
        outputs = taca_attention(
            image_query, text_query, key, value, gamma, attention, text_first=text_first, token_dim=-2
        )
        return torch.cat(outputs[::-1] if text_first else outputs, dim=-2)

    def recomposed(query, key, value):
        """Two full-length calls, of which each token keeps one (the paper's Listing 2)."""
        scaled = torch.where(is_text[:, None], key * GAMMA, key)
        with_gamma = F.scaled_dot_product_attention(query, scaled, value)
        return torch.where(is_text[:, None], F.scaled_dot_product_attention(query, key, value), with_gamma)

    def explicit(query, key, value):
        return explicit_attention(query, key, value, is_text, GAMMA)

    def score(logit, _batch, _head, query_index, key_index):
        image_to_text = ~is_text[query_index] & is_text[key_index]
        return torch.where(image_to_text, logit * GAMMA, logit)

    def flex(query, key, value):
        return flex_attention(query, key, value, score_mod=score)

    compiled_flex = torch.compile(flex, dynamic=False)

    return {
        "plain": plain,
        "plain again": plain,
        "ours": ours,
        "recomposed": recomposed,
        "explicit": explicit,
        "flex": flex,
        "flex, compiled alone": compiled_flex,
    }


class FluxVariant(TacaFluxAttnProcessor):
    """FLUX.1's processor with a variant for its attention."""

    def __init__(self, variant: Variant, text_tokens: int):
        super().__init__(None, Run(text_tokens, text_first=True))
        self.variant = variant

    def dispatch(self, query, key, value, num_text_tokens, mask, *, text_first):
        """The variant on the joint sequence (B, L, H, D)."""
        output = self.variant(*(x.transpose(1, 2) for x in (query, key, value))).transpose(1, 2).flatten(2)
        text, image = output.split_with_sizes([num_text_tokens, output.shape[1] - num_text_tokens], dim=1)
        return image, text


class Sd3Variant(TacaJointAttnProcessor):
    """SD3's processor with a variant for its attention."""

    def __init__(self, variant: Variant, text_tokens: int):
        super().__init__(None, Run(text_tokens, text_first=False))
        self.variant = variant

    def scaled_dot_product(self, query, key, value, num_text_tokens, *, text_first, text_is_read):
        """The variant on the joint sequence (B, H, L, D); as the stock processor, also in the last block."""
        sizes = [query.shape[-2] - num_text_tokens, num_text_tokens]
        image, text = self.variant(query, key, value).split_with_sizes(sizes, dim=-2)
        return image, text if text_is_read else None


def with_variant(model: torch.nn.Module, variant: Variant, text_tokens: int) -> Processors:
    """For every joint attention of a transformer, its processor with the variant."""
    processor = FluxVariant if type(model).__name__.startswith("Flux") else Sd3Variant
    return {module: processor(variant, text_tokens) for module in attention_modules(model, family_of(model))}
