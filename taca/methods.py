"""Other changes of image-to-text attention: the parts of TACA's temperature, controls and rivals.

Let L_t, L_v be the log-sum-exps of an image query's logits over text and image keys, O_t, O_v its attention outputs
over each, and m = sigmoid(L_t - L_v). Attention is m O_t + (1 - m) O_v. gamma turns L_t, O_t and m into L_t', O_t' and
m'. TACA (m', O_t') does two things at once, and each is possible alone: more mass (m', O_t), or sharper attention
(m, O_t'). All methods here are one attention call over changed keys, with a number per query added to the text logits.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import inf, log
from typing import Protocol, runtime_checkable

import torch

from taca.attention import Attention, scale_text_keys
from taca.errors import TacaError

# Queries whose text logits are in memory at once.
SLICE = 1024
# Image queries by which the mean change of logits is measured.
MEASURED = 256
# Channels that carry the numbers to be added: kernels want head sizes that are multiples of 8.
CHANNELS = 8


@dataclass(frozen=True)
class Keys:
    """The keys that image queries attend to.

    Attributes:
        text, image: keys (B, H, N, D).
        bias: what is added to the logits of all text keys, (B, H, N_vis, 1) or what broadcasts to it; None: nothing.
    """

    text: torch.Tensor
    image: torch.Tensor
    bias: torch.Tensor | None = None


@runtime_checkable
class Method(Protocol):
    """A change of the text side of joint attention, in the steps in which it acts."""

    @property
    def neutral(self) -> bool:
        """Whether it changes nothing for any input; it is then never called."""

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        """The keys and the bias that replace the plain ones.

        Args:
            query: image queries (B, H, N_vis, D), after QK-norm and rotary embedding.
            keys: the plain ones.
            layer: the number of the attention module, from 0.
        """


def _check_gamma(gamma: float) -> None:
    if not isinstance(gamma, int | float) or not 0 < gamma < inf:
        raise TacaError(f"`gamma` must be a finite number above 0 (1 changes nothing), got {gamma!r}.")


@dataclass(frozen=True)
class _WithGamma:
    """A method with the parameter gamma.

    Raises: TacaError: gamma is not a finite number above 0.
    """

    gamma: float = 1.2

    def __post_init__(self):
        _check_gamma(self.gamma)

    @property
    def neutral(self) -> bool:
        return self.gamma == 1


class Temperature(_WithGamma):
    """TACA, Eq. 10: m' O_t' + (1 - m') O_v."""

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        return Keys(scale_text_keys(keys.text, self.gamma), keys.image)


class MassOnly(_WithGamma):
    """As much attention to the text as under TACA, distributed over text tokens as without: m' O_t + (1 - m') O_v."""

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        plain, scaled = text_log_sums(query, keys.text, self.gamma)
        return Keys(keys.text, keys.image, scaled - plain)


class SharpeningOnly(_WithGamma):
    """As much attention to the text as without TACA, distributed over text tokens as under it: m O_t' + (1 - m) O_v."""

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        plain, scaled = text_log_sums(query, keys.text, self.gamma)
        return Keys(scale_text_keys(keys.text, self.gamma), keys.image, plain - scaled)


@dataclass(frozen=True)
class RandomImageKeys(_WithGamma):
    """gamma on as many image keys as there are text keys, drawn by `seed` and the same in every layer and step.

    Raises: TacaError: as `_WithGamma`, or a seed that is no whole number.
    """

    seed: int | None = None

    def __post_init__(self):
        super().__post_init__()
        check_seed(self.seed)

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        tokens, count = keys.image.shape[2], min(keys.text.shape[2], keys.image.shape[2])
        chosen = torch.randperm(tokens, generator=torch.Generator().manual_seed(self.seed))[:count]
        scaled = torch.zeros(tokens, dtype=torch.bool).index_fill_(0, chosen, True).to(keys.image.device)[:, None]
        return Keys(keys.text, torch.where(scaled, scale_text_keys(keys.image, self.gamma), keys.image))


@dataclass(frozen=True)
class RandomDirection(_WithGamma):
    """Text keys moved in random directions, with the mean absolute change of logits that TACA's gamma causes.

    The mean over heads, text keys and up to `MEASURED` image queries, spread evenly over the image, is matched in every
    layer and sample. Each head and text token has one direction, the same in all layers and steps.

    Raises: TacaError: as `_WithGamma`, or a seed that is not a whole number.
    """

    seed: int | None = None

    def __post_init__(self):
        super().__post_init__()
        check_seed(self.seed)

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        direction = _directions(self.seed, keys.text.shape[1:], keys.text.dtype, keys.text.device)
        some = query[:, :, :: -(-query.shape[2] // MEASURED)]
        change = abs(self.gamma - 1) * _mean_logit(some, keys.text) / _mean_logit(some, direction)
        moved = torch.addcmul(keys.text.to(change.dtype), change, direction.to(change.dtype))
        return Keys(moved.to(keys.text.dtype), keys.image)


@lru_cache(maxsize=2)
def _directions(seed: int, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Random directions (1, H, N_txt, D) of length 1, the same wherever they are drawn."""
    with torch.inference_mode(False):
        drawn = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return (drawn / drawn.norm(dim=-1, keepdim=True)).to(device, dtype)


@dataclass(frozen=True)
class Bias:
    """A number added to all logits of image queries and text keys, as OminiControl (arXiv 2411.15098) does for FLUX.1.

    Raises: TacaError: it is not finite.
    """

    value: float

    def __post_init__(self):
        if not isinstance(self.value, int | float) or not -inf < self.value < inf:
            raise TacaError(f"`value` must be a finite number (0 changes nothing), got {self.value!r}.")

    @property
    def neutral(self) -> bool:
        return self.value == 0

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        return Keys(keys.text, keys.image, _constant(self.value, query))


@dataclass(frozen=True)
class LogCountBias:
    """ln(share * N_vis / N_txt) added to all logits of image queries and text keys, to compensate for token counts.

    Raises: TacaError: `share` is not a finite number above 0.
    """

    share: float = 1.0

    def __post_init__(self):
        if not isinstance(self.share, int | float) or not 0 < self.share < inf:
            raise TacaError(f"`share` must be a finite number above 0, got {self.share!r}.")

    @property
    def neutral(self) -> bool:
        return False

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        bias = log(self.share * keys.image.shape[2] / keys.text.shape[2])
        return Keys(keys.text, keys.image, _constant(bias, query) if bias else None)


def check_seed(seed: int | None) -> None:
    """Raises: TacaError: it is no whole number."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TacaError(f"A random control needs a `seed`, a whole number that the report names; got {seed!r}.")


def _constant(value: float, query: torch.Tensor) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.promote_types(query.dtype, torch.float32), device=query.device)


def text_log_sums(query: torch.Tensor, text_key: torch.Tensor, gamma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """L_t and L_t': the log-sum-exps of each query's text logits at 1 and at gamma, (B, H, N_vis, 1)."""
    sums = [
        (logits.logsumexp(-1, keepdim=True), (gamma * logits).logsumexp(-1, keepdim=True))
        for logits in _text_logits(query, text_key)
    ]
    return tuple(torch.cat(parts, dim=2) for parts in zip(*sums, strict=True))


def _mean_logit(query: torch.Tensor, text_key: torch.Tensor) -> torch.Tensor:
    """Mean absolute logit over heads, queries and text keys, (B, 1, 1, 1)."""
    total = sum(logits.abs().sum((1, 2, 3), keepdim=True) for logits in _text_logits(query, text_key))
    return total / (query.shape[1] * query.shape[2] * text_key.shape[2])


def _text_logits(query: torch.Tensor, text_key: torch.Tensor):
    """Logits of some queries after the others, (B, H, SLICE, N_txt), in float32 or better."""
    precise = torch.promote_types(query.dtype, torch.float32)
    text_key = text_key.to(precise).transpose(-1, -2) / query.shape[-1] ** 0.5
    for part in query.split(SLICE, dim=2):
        yield part.to(precise) @ text_key


def method_attention(
    image_query: torch.Tensor,
    text_query: torch.Tensor | None,
    key: torch.Tensor,
    value: torch.Tensor,
    active: torch.Tensor,
    method: Method,
    attention: Attention,
    *,
    layer: int,
    text_first: bool,
    token_dim: int,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As `taca_attention`, by any method.

    Args:
        active: on which samples the method acts, boolean (B, 1, 1, 1).
        attention: of (query, key, value), which also takes `scale`.
    """
    to_heads = (lambda x: x) if token_dim == -2 else (lambda x: x.transpose(1, 2))
    query, joint = to_heads(image_query), to_heads(key)
    sizes = [joint.shape[2] - query.shape[2], query.shape[2]]
    text, image = joint.split_with_sizes(sizes, 2) if text_first else joint.split_with_sizes(sizes[::-1], 2)[::-1]
    found = method.keys(query, Keys(text, image), layer)
    # Of a transformer spread over several GPUs, this layer may be on another than the latents are.
    active = active.to(joint.device)
    text, image = (
        old if new is old else torch.where(active, new, old) for new, old in ((found.text, text), (found.image, image))
    )
    seen = torch.cat([text, image] if text_first else [image, text], dim=2)
    if found.bias is None:
        image_output = attention(image_query, to_heads(seen), value)
    else:
        is_text = torch.arange(seen.shape[2], device=seen.device)
        is_text = is_text < sizes[0] if text_first else is_text >= sizes[1]
        bias = torch.where(active, found.bias, torch.zeros_like(found.bias)).expand(*query.shape[:3], 1)
        image_output = _with_bias(query, seen, to_heads(value), bias, is_text, to_heads, attention)
    return image_output, None if text_query is None else attention(text_query, key, value)


def _with_bias(query, key, value, bias, is_text, to_heads, attention: Attention) -> torch.Tensor:
    """Attention with `bias` (B, H, N_vis, 1) on the logits of text keys, carried by channels of their own.

    A mask for it would hold a number for each query and key. Two channels carry it: the second has what the first one's
    rounding leaves over.
    """
    width = query.shape[-1]
    carried = bias * width**0.5
    coarse = carried.to(query.dtype)
    fine = (carried - coarse.to(carried.dtype)).to(query.dtype)
    rest = query.new_zeros(*query.shape[:3], CHANNELS - 2)
    marks = is_text.to(key.dtype)[:, None].expand(*key.shape[:3], 2)
    query = torch.cat([query, coarse, fine, rest], dim=-1)
    key = torch.cat([key, marks, key.new_zeros(*key.shape[:3], CHANNELS - 2)], dim=-1)
    value = torch.cat([value, value.new_zeros(*value.shape[:3], CHANNELS)], dim=-1)
    read = attention(to_heads(query), to_heads(key), to_heads(value), scale=width**-0.5)
    return read[..., :width]
