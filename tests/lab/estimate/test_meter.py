"""What the meter counts, by tensors of which all sizes are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lab.estimate.four_bit import FourBitLinear, quantize
from lab.estimate.kernels import Kernels
from lab.estimate.meter import Meter


def test_the_peak_is_of_tensors_that_live_at_once():
    with Meter() as meter:
        first = torch.empty(256, device="meta")
        second = first + 1
        del first
        third = second * 2
        del third
    assert (meter.peak, meter.live) == (2048, 1024)


def test_views_and_writing_in_place_take_nothing():
    with Meter() as meter:
        tensor = torch.empty(4, 64, device="meta")
        tensor.t().reshape(64, 4).unsqueeze(0).add_(1)
    assert meter.peak == 1024


def test_other_devices_are_not_counted():
    with Meter() as meter:
        torch.ones(256)
    assert meter.peak == 0


def test_weights_that_two_modules_share_count_once():
    layer = nn.Linear(8, 8, bias=False, device="meta")
    meter = Meter()
    meter.hold([*layer.parameters(), *nn.Sequential(layer, layer).parameters()])
    assert meter.live == 256


@pytest.mark.parametrize("backward", [False, True])
def test_attention_writes_no_matrix_of_tokens_by_tokens(backward):
    """And counts as the two products that it is: 4 L^2 D a head, with the backward pass 3.5 times as many."""
    batch, heads, tokens, width = 1, 2, 4096, 64
    with Meter() as meter, Kernels() as kernels:
        query, key, value = (
            torch.empty(batch, heads, tokens, width, device="meta", requires_grad=backward) for _ in range(3)
        )
        output = F.scaled_dot_product_attention(query, key, value)
        if backward:
            kernels.backward(output.sum())
    assert meter.peak < heads * tokens * tokens
    assert meter.flops == heads * 4 * tokens**2 * width * (3.5 if backward else 1)


@pytest.mark.parametrize(("device", "norm"), [("cuda", torch.float32), ("cpu", torch.bfloat16)])
def test_autocast_has_each_devices_number_formats(device, norm):
    layer, lora = nn.LayerNorm(64, device="meta", dtype=torch.bfloat16), nn.Linear(64, 4, device="meta")
    with Kernels(torch.bfloat16, device):
        normed = layer(torch.empty(2, 64, device="meta", dtype=torch.bfloat16))
        assert normed.dtype is norm
        assert lora(normed).dtype is torch.bfloat16


def test_four_bits_are_half_a_byte_and_a_scale_for_every_block():
    model = nn.Sequential(nn.Linear(256, 128, device="meta", dtype=torch.bfloat16))
    model.add_module("x_embedder", nn.Linear(128, 128, device="meta", dtype=torch.bfloat16))
    quantize(model, ["x_embedder"])
    packed, whole = model
    assert isinstance(packed, FourBitLinear)
    assert not isinstance(whole, FourBitLinear)
    meter = Meter()
    meter.hold([*packed.parameters(), *packed.buffers()])
    assert meter.live == 256 * 128 // 2 + 256 * 128 // 64 * 4 + 128 * 2
    with meter:
        inside = torch.empty(8, 256, device="meta", dtype=torch.bfloat16, requires_grad=True)
        packed(inside).sum().backward()
    assert inside.grad.shape == inside.shape
    # Unpacked for as long as a product takes.
    assert meter.peak >= meter.live + 256 * 128 * 2 - 8 * 256 * 2
