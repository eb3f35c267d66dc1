"""What the replacement processors share.

Each calls the same linear layers as its stock processor, in the same order: offloading learns the order from one pass
and fetches the weights of the next layer ahead. What the joint sequence is put together from is made in a function of
its own, which lets it go before attention runs.
"""

from functools import partial

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import dispatch_attention_fn

from taca.attention import split_image_text, split_mask, taca_attention
from taca.tokens import Tokens


class TacaProcessor:
    """The replacement of one stock processor, with gamma on the image-to-text logits.

    Args:
        gamma: a factor for each sample, (B, 1, 1, 1).
        tokens: where the text tokens of the pass are (this rank's share of them).
    """

    _attention_backend = None
    _parallel_config = None
    fused = False

    def __init__(self, gamma: torch.Tensor, tokens: Tokens):
        self.gamma = gamma
        self.tokens = tokens

    @property
    def num_text_tokens(self) -> int:
        """Of the pass, for attention that is given the joint sequence alone."""
        return self.tokens.num_text_tokens

    def follow(self, attn: torch.nn.Module) -> None:
        """Takes over what `set_attention_backend` and `enable_parallelism` wrote into a module's stock processor."""
        self._attention_backend = getattr(attn.processor, "_attention_backend", None)
        self._parallel_config = getattr(attn.processor, "_parallel_config", None)
        # SD3 and CogVideoX have processors of their own for fused projections, which the module's flag outlives.
        self.fused = type(attn.processor).__name__.startswith("Fused")

    def dispatch(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        num_text_tokens: int,
        mask: torch.Tensor | None,
        *,
        text_first: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Eq. 10 by the attention backend that the stock processor would use.

        Args:
            query, key, value: the joint sequence (B, L, H, D), after QK-norm and rotary embedding.
            num_text_tokens: how many of the L are text.
            mask: broadcastable to (B, H, L, L), with one row for all queries or one for each.
            text_first: where they are.

        Returns:
            What image and text tokens read, (B, N_vis, H * D) and (B, N_txt, H * D), in the queries' dtype.
        """
        image_query, text_query = split_image_text(query, num_text_tokens, text_first, 1)
        attention = partial(
            dispatch_attention_fn, backend=self._attention_backend, parallel_config=self._parallel_config
        )
        image_mask, text_mask = split_mask(mask, num_text_tokens, text_first)
        outputs = taca_attention(
            image_query,
            text_query,
            key,
            value,
            self.gamma,
            partial(attention, attn_mask=image_mask),
            text_first=text_first,
            token_dim=-3,
            text_attention=partial(attention, attn_mask=text_mask),
        )
        return tuple(output.flatten(2, 3).to(query.dtype) for output in outputs)

    def scaled_dot_product(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        num_text_tokens: int,
        mask: torch.Tensor | None = None,
        *,
        text_first: bool,
        text_is_read: bool = True,
        scale: float | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Eq. 10 where the stock processor calls PyTorch's attention itself, and ignores the choice of a backend.

        Args:
            query, key, value: the joint sequence (B, H, L, D), after QK-norm and rotary embedding.
            num_text_tokens, mask, text_first: as in `dispatch`.
            text_is_read: False where the block discards what text tokens read; it is then not computed.
            scale: of the logits, 1 / sqrt(D) if None.

        Returns:
            What image and text tokens read, (B, H, N_vis, D) and (B, H, N_txt, D), or None.
        """
        image_query, text_query = split_image_text(query, num_text_tokens, text_first, 2)
        image_mask, text_mask = split_mask(mask, num_text_tokens, text_first)
        return taca_attention(
            image_query,
            text_query if text_is_read else None,
            key,
            value,
            self.gamma,
            partial(F.scaled_dot_product_attention, attn_mask=image_mask, scale=scale),
            text_first=text_first,
            token_dim=-2,
            text_attention=partial(F.scaled_dot_product_attention, attn_mask=text_mask, scale=scale),
        )


def share_of(num_text_tokens: int, parallel_config: object | None) -> int:
    """How many of the text tokens this process holds, as diffusers' context parallelism splits them."""
    context = getattr(parallel_config, "context_parallel_config", None)
    if context is None:
        return num_text_tokens
    mesh = context._flattened_mesh
    # As even as it can be, the first ranks holding one more where it is not.
    return num_text_tokens // mesh.size() + (mesh.get_local_rank() < num_text_tokens % mesh.size())


def projected(
    attn: torch.nn.Module, hidden_states: torch.Tensor, *, added: bool = False, fused: bool = False
) -> tuple[torch.Tensor, ...]:
    """Query, key and value projections (B, L, C) of tokens.

    Args:
        added: by the projections that blocks with two streams keep for text.
        fused: by the ones that `fuse_qkv_projections` made, as the stock processor does.
    """
    if fused:
        return (attn.to_added_qkv if added else attn.to_qkv)(hidden_states).chunk(3, dim=-1)
    layers = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj) if added else (attn.to_q, attn.to_k, attn.to_v)
    return tuple(layer(hidden_states) for layer in layers)


def heads_of(
    projections: tuple[torch.Tensor, ...], head_dim: int, norms: tuple[torch.nn.Module | None, ...]
) -> tuple[torch.Tensor, ...]:
    """Query, key and value (B, L, H, D), the first two normalised by the two of `norms`."""
    heads = (projection.unflatten(-1, (-1, head_dim)) for projection in projections)
    return tuple(x if norm is None else norm(x) for x, norm in zip(heads, (*norms, None), strict=True))


def joined(first: tuple[torch.Tensor, ...], second: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Query, key and value of the joint sequence, from those of its two parts, tokens in dimension 1."""
    return tuple(torch.cat(parts, dim=1) for parts in zip(first, second, strict=True))
