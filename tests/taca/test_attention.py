"""Eq. 10 as two attention calls, against the formula itself."""

import math
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

from taca.attention import explicit_attention, scale_text_keys, taca_attention

IMAGE_TOKENS, TEXT_TOKENS, HEAD_DIM = 7, 4, 6


class Stream(NamedTuple):
    """One modality's projections."""

    query: torch.Tensor | None
    key: torch.Tensor
    value: torch.Tensor


def streams(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Stream, Stream]:
    """Image and text projections (B, H, L, D) of two samples with three heads."""
    generator = torch.Generator().manual_seed(seed)

    def stream(tokens: int) -> Stream:
        return Stream(*torch.randn(3, 2, 3, tokens, HEAD_DIM, generator=generator, dtype=torch.float64).to(dtype))

    return stream(IMAGE_TOKENS), stream(TEXT_TOKENS)


def two_calls(
    image: Stream,
    text: Stream,
    gamma,
    text_first: bool = False,
    attention=F.scaled_dot_product_attention,
    dim: int = -2,
):
    order = (text, image) if text_first else (image, text)
    key, value = (torch.cat([getattr(stream, name) for stream in order], dim) for name in ("key", "value"))
    arguments = {"text_first": text_first, "token_dim": dim}
    return taca_attention(image.query, text.query, key, value, gamma, attention, **arguments)


def explicit(image: Stream, text: Stream, gamma) -> tuple[torch.Tensor, torch.Tensor]:
    query, key, value = (torch.cat(parts, dim=-2) for parts in zip(image, text, strict=True))
    is_text = torch.arange(IMAGE_TOKENS + TEXT_TOKENS) >= IMAGE_TOKENS
    return explicit_attention(query, key, value, is_text, gamma).split([IMAGE_TOKENS, TEXT_TOKENS], dim=-2)


def test_reference_is_equation_10_term_by_term():
    """One image query's output from sums written out as the paper writes them."""
    image, text = streams()
    gamma = 1.7
    query = image.query[0, 0, 2]
    exp_text = [math.exp(gamma * float(query @ key) / math.sqrt(HEAD_DIM)) for key in text.key[0, 0]]
    exp_image = [math.exp(float(query @ key) / math.sqrt(HEAD_DIM)) for key in image.key[0, 0]]
    total = sum(exp_text) + sum(exp_image)
    values = [*image.value[0, 0], *text.value[0, 0]]
    expected = sum(e / total * value for e, value in zip(exp_image + exp_text, values, strict=True))
    torch.testing.assert_close(explicit(image, text, gamma)[0][0, 0, 2], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("text_first", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 1.2, torch.tensor([1.2, 1.0], dtype=torch.float64).reshape(-1, 1, 1, 1)])
def test_two_calls_equal_the_explicit_logits(gamma, text_first):
    image, text = streams()
    for actual, expected in zip(two_calls(image, text, gamma, text_first), explicit(image, text, gamma), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


def test_layout_with_tokens_before_heads_gives_the_same():
    """(B, L, H, D), the layout of diffusers' dispatched attention, with the tokens in dimension -3."""
    image, text = streams()

    def attention(query, key, value):
        return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value))).transpose(1, 2)

    swapped = [Stream(*(x.transpose(1, 2) for x in stream)) for stream in (image, text)]
    outputs = two_calls(*swapped, 1.2, text_first=True, attention=attention, dim=-3)
    for actual, expected in zip(outputs, two_calls(image, text, 1.2, text_first=True), strict=True):
        assert torch.equal(actual.transpose(1, 2), expected)


def test_text_queries_are_unscaled():
    """Text queries read exactly what they read without TACA, bit for bit."""
    image, text = streams()
    key, value = torch.cat([image.key, text.key], dim=-2), torch.cat([image.value, text.value], dim=-2)
    assert torch.equal(two_calls(image, text, 1.9)[1], F.scaled_dot_product_attention(text.query, key, value))


def test_absent_text_queries_are_not_attended_with():
    image, text = streams()
    calls = []

    def counted(query, key, value):
        calls.append(query.shape[-2])
        return F.scaled_dot_product_attention(query, key, value)

    outputs = two_calls(image, text._replace(query=None), 1.2, attention=counted)
    assert outputs[1] is None
    assert calls == [IMAGE_TOKENS]
    assert torch.equal(outputs[0], two_calls(image, text, 1.2)[0])


def test_two_calls_do_the_work_of_one():
    """Queries times keys over both calls are those of one joint call, and no call gets a mask."""
    image, text = streams()
    work = []

    def counted(query, key, value):
        work.append(query.shape[-2] * key.shape[-2])
        return F.scaled_dot_product_attention(query, key, value)

    two_calls(image, text, 1.2, attention=counted)
    assert len(work) == 2
    assert sum(work) == (IMAGE_TOKENS + TEXT_TOKENS) ** 2


def test_larger_gamma_moves_attention_to_the_text_where_logits_are_positive():
    """With values 1 for text and 0 for image tokens the output is the attention paid to the text."""
    image, text = streams()
    image = image._replace(query=image.query.abs(), value=torch.zeros_like(image.value))
    text = text._replace(key=text.key.abs(), value=torch.ones_like(text.value))
    shares = [two_calls(image, text, gamma)[0].mean().item() for gamma in (1.0, 1.1, 1.2, 1.5)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_gamma_product_has_no_bias_in_bfloat16():
    """Rounding 1.2 to bfloat16 first would make every key 0.26 % too large."""
    key = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    exact = key.double() * 1.2
    bias = (scale_text_keys(key, 1.2).double() / exact - 1).mean().abs()
    naive_bias = ((key * torch.tensor(1.2, dtype=torch.bfloat16)).double() / exact - 1).mean().abs()
    assert bias < 5e-5
    assert naive_bias > 2e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scaled_keys_are_the_correctly_rounded_product(dtype):
    key = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    precise = torch.promote_types(dtype, torch.float32)
    scaled = scale_text_keys(key, 1.2)
    assert scaled.dtype == dtype
    assert torch.equal(scaled, (key.to(precise) * torch.tensor(1.2, dtype=precise)).to(dtype))


def test_gamma_one_leaves_keys_bitwise_alone():
    key = torch.randn(1000).to(torch.bfloat16)
    assert torch.equal(scale_text_keys(key, 1.0), key)


def test_gradients_equal_those_of_the_explicit_logits():
    image, text = streams()
    leaves = [x.requires_grad_() for x in (*image, *text)]
    weights = [torch.randn_like(x) for x in (image.query, text.query)]

    def gradients(outputs):
        loss = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
        return torch.autograd.grad(loss, leaves)

    for actual, expected in zip(
        gradients(two_calls(image, text, 1.3)), gradients(explicit(image, text, 1.3)), strict=True
    ):
        torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-13)
