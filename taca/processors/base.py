"""What the stand-ins share.

Each calls the same linear layers as its stock processor, in the same order: offloading learns the order from one pass
and fetches the weights of the next layer ahead. What the joint sequence is put together from is made in a function of
its own, which lets it go before attention runs.
"""

from functools import partial

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn

from taca.attention import Attention, taca_attention


class TacaProcessor:
    """A stand-in for one stock processor, with gamma on the image-to-text logits.

    Args:
        gamma: a factor for each sample, (B, 1, 1, 1).
        text_tokens: text tokens of the pass (this rank's share of them), for attention that is given the joint sequence
            alone.
    """

    _attention_backend = None
    _parallel_config = None
    fused = False

    def __init__(self, gamma: torch.Tensor, text_tokens: int):
        self.gamma = gamma
        self.text_tokens = text_tokens

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
        text_tokens: int,
        mask: torch.Tensor | None,
        *,
        text_first: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Eq. 10 by the attention backend that the stock processor would use.

        Args:
            query, key, value: the joint sequence (B, L, H, D), after QK-norm and rotary embedding.
            text_tokens: how many of the L are text.
            mask: over keys, broadcastable to (B, H, L, L) with one row for all queries.
            text_first: where they are.

        Returns:
            What image and text tokens read, (B, N_vis, H * D) and (B, N_txt, H * D), in the queries' dtype.
        """
        image_tokens = query.shape[1] - text_tokens
        sizes = [text_tokens, image_tokens] if text_first else [image_tokens, text_tokens]
        first, last = query.split_with_sizes(sizes, dim=1)
        image_query, text_query = (last, first) if text_first else (first, last)
        attention = partial(
            dispatch_attention_fn,
            attn_mask=mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        outputs = self.attend(image_query, text_query, key, value, attention, text_first=text_first, token_dim=-3)
        return tuple(output.flatten(2, 3).to(query.dtype) for output in outputs)

    def attend(
        self,
        image_query: torch.Tensor,
        text_query: torch.Tensor | None,
        key: torch.Tensor,
        value: torch.Tensor,
        attention: Attention,
        *,
        text_first: bool,
        token_dim: int,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`taca_attention` with this processor's gamma."""
        return taca_attention(
            image_query, text_query, key, value, self.gamma, attention, text_first=text_first, token_dim=token_dim
        )


def share_of(text_tokens: int, parallel_config: object | None) -> int:
    """How many of the text tokens this process holds, as diffusers' context parallelism splits them."""
    context = getattr(parallel_config, "context_parallel_config", None)
    if context is None:
        return text_tokens
    mesh = context._flattened_mesh
    # As even as it can be, the first ranks holding one more where it is not.
    return text_tokens // mesh.size() + (mesh.get_local_rank() < text_tokens % mesh.size())


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
