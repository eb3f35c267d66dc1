"""Attention to the text is measured as written out, in slices, and in every step of a drawing."""

import math

import pytest
import torch

from lab.analysis import attention
from lab.analysis.attention import Observed, text_attention
from taca.methods import Keys
from tests.memory_record import peak_of

GAMMAS = (1.0, 1.3)


def heads(seed: int, tokens: int, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, tokens, 8, dtype=torch.float64, generator=generator)


QUERY, TEXT, IMAGE = heads(0, 10), heads(1, 5), heads(2, 10)


def weights(gamma: float) -> torch.Tensor:
    """Of image queries for text keys under gamma, logit by logit."""
    logits = torch.einsum("bhqd,bhkd->bhqk", QUERY, torch.cat([gamma * TEXT, IMAGE], 2)) / math.sqrt(8)
    return logits.softmax(-1)[..., :5]


@pytest.mark.parametrize("slice_size", [3, 128])
def test_shares_and_magnitudes_are_those_of_explicit_weights(monkeypatch, slice_size):
    monkeypatch.setattr(attention, "SLICE", slice_size)
    shares, magnitudes = text_attention(QUERY, TEXT, IMAGE, GAMMAS)
    torch.testing.assert_close(shares, weights(1.0).sum(-1).mean(1), rtol=0, atol=1e-12)
    alone = (torch.einsum("bhqd,bhkd->bhqk", QUERY, TEXT) / math.sqrt(8)).softmax(-1)
    expected = torch.stack([each.norm(dim=-1).mean() for each in (*map(weights, GAMMAS), alone)])
    torch.testing.assert_close(magnitudes, expected, rtol=0, atol=1e-12)


def test_measuring_holds_a_fraction_of_one_layers_logits_at_4608_tokens():
    """By PyTorch's own record, with two heads: all of them would be 151 MB of float32."""
    image, text, count = 4096, 512, 2
    query, keys = torch.randn(1, count, image, 32), torch.randn(1, count, image + text, 32)
    peak = peak_of(lambda: text_attention(query, keys[:, :, :text], keys[:, :, text:], (1.0, 1.1, 1.2, 1.3)))
    logits = count * image * (image + text) * 4
    assert 0 < peak < logits / 4


def test_gamma_acts_in_its_steps_alone_and_unconditional_samples_are_passed_over():
    watching = Observed(1, (1.3,), gamma=1.5, acting={1})
    found = [watching.keys(QUERY, Keys(TEXT, IMAGE), layer) for _ in range(2) for layer in range(2)]
    assert [keys.text is TEXT for keys in found] == [True, True, False, False]
    torch.testing.assert_close(found[2].text, 1.5 * TEXT)
    torch.testing.assert_close(watching.maps[0], weights(1.0)[1:].sum(-1).mean(1))
    torch.testing.assert_close(watching.maps[1], weights(1.5)[1:].sum(-1).mean(1))
    assert watching.magnitudes[1, 0][0] == pytest.approx(weights(1.5)[1:].norm(dim=-1).mean().item())
    assert watching.magnitudes[1, 1][1] == pytest.approx(weights(1.3)[1:].norm(dim=-1).mean().item())
