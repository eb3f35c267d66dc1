"""Every method equals its formula, written out logit by logit in float64 without a line of `taca`."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from taca.errors import TacaError
from taca.methods import (
    Bias,
    Keys,
    LogCountBias,
    MassOnly,
    RandomDirection,
    RandomImageKeys,
    SharpeningOnly,
    Temperature,
    method_attention,
)

GAMMA = 1.7
BATCH, HEADS, IMAGE, TEXT, WIDTH = 2, 3, 11, 5, 16


def heads(seed: int, tokens: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, HEADS, tokens, WIDTH, dtype=torch.float64, generator=generator)


QUERY, KEY, VALUE = heads(0, IMAGE + TEXT), heads(1, IMAGE + TEXT), heads(2, IMAGE + TEXT)
QUERY_V, KEY_T, KEY_V = QUERY[:, :, TEXT:], KEY[:, :, :TEXT], KEY[:, :, TEXT:]
VALUE_T, VALUE_V = VALUE[:, :, :TEXT], VALUE[:, :, TEXT:]


def parts(gamma: float):
    """L_t, O_t of text logits times gamma, and L_v, O_v, query by query."""
    sums, outputs = [], []
    for key, value, factor in ((KEY_T, VALUE_T, gamma), (KEY_V, VALUE_V, 1.0)):
        logits = factor * torch.einsum("bhqd,bhkd->bhqk", QUERY_V, key) / math.sqrt(WIDTH)
        weights = logits.exp()
        sums.append(weights.sum(-1, keepdim=True).log())
        outputs.append(torch.einsum("bhqk,bhkd->bhqd", weights / weights.sum(-1, keepdim=True), value))
    return sums[0], outputs[0], sums[1], outputs[1]


def mixed(mass: torch.Tensor, text: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return mass * text + (1 - mass) * image


def references() -> dict:
    sum_t, read_t, sum_v, read_v = parts(1.0)
    sum_g, read_g, *_ = parts(GAMMA)
    plain, more = torch.sigmoid(sum_t - sum_v), torch.sigmoid(sum_g - sum_v)
    return {
        Temperature(GAMMA): mixed(more, read_g, read_v),
        MassOnly(GAMMA): mixed(more, read_t, read_v),
        SharpeningOnly(GAMMA): mixed(plain, read_g, read_v),
        Bias(0.7): mixed(torch.sigmoid(sum_t + 0.7 - sum_v), read_t, read_v),
        LogCountBias(0.5): mixed(torch.sigmoid(sum_t + math.log(0.5 * IMAGE / TEXT) - sum_v), read_t, read_v),
    }


def attend(method, text_first: bool = True, layout: int = -2, active=(True, True), dtype=torch.float64):
    """What image and text queries read, (B, H, L, D), of the same tokens in either order and layout."""

    def order(x):
        x = x if text_first else torch.cat([x[:, :, TEXT:], x[:, :, :TEXT]], dim=2)
        return (x if layout == -2 else x.transpose(1, 2)).to(dtype)

    query, key, value = (order(x) for x in (QUERY, KEY, VALUE))
    sizes = [TEXT, IMAGE] if text_first else [IMAGE, TEXT]
    first, last = query.split(sizes, dim=layout)
    image_query, text_query = (last, first) if text_first else (first, last)

    def attention(query, key, value, **kwargs):
        if layout == -2:
            return F.scaled_dot_product_attention(query, key, value, **kwargs)
        swapped = (x.transpose(1, 2) for x in (query, key, value))
        return F.scaled_dot_product_attention(*swapped, **kwargs).transpose(1, 2)

    acts = torch.tensor(active).reshape(-1, 1, 1, 1)
    call = partial(method_attention, image_query, text_query, key, value, acts, method, attention)
    read = call(layer=0, text_first=text_first, token_dim=layout)
    return tuple(x if layout == -2 else x.transpose(1, 2) for x in read)


@pytest.mark.parametrize("text_first", [True, False])
@pytest.mark.parametrize("layout", [-2, -3])
@pytest.mark.parametrize("method", references(), ids=lambda method: type(method).__name__)
def test_every_method_is_its_formula(method, layout, text_first):
    image, text = attend(method, text_first, layout)
    assert (image - references()[method]).abs().max() < 1e-12
    assert (text - F.scaled_dot_product_attention(QUERY[:, :, :TEXT], KEY, VALUE)).abs().max() < 1e-12
    assert (image - F.scaled_dot_product_attention(QUERY_V, KEY, VALUE)).abs().max() > 1e-3


def test_mass_and_sharpening_are_what_their_names_say():
    """Mass only gives the text TACA's share and plain weights in it; sharpening only the other way round."""
    value = torch.zeros_like(VALUE)
    value[:, :, :TEXT, :TEXT] = torch.eye(TEXT, dtype=torch.float64)
    weights = {}
    for method in (Temperature(1.0 + 1e-13), Temperature(GAMMA), MassOnly(GAMMA), SharpeningOnly(GAMMA)):
        acts = torch.ones(1, 1, 1, 1, dtype=torch.bool)
        read, _ = method_attention(
            QUERY_V, None, KEY, value, acts, method, F.scaled_dot_product_attention,
            layer=0, text_first=True, token_dim=-2,
        )  # fmt: skip
        weights[type(method).__name__ + str(method.gamma == GAMMA)] = read[..., :TEXT]
    plain, taca, mass, sharp = weights.values()
    share = lambda w: w.sum(-1, keepdim=True)  # noqa: E731
    torch.testing.assert_close(share(mass), share(taca))
    torch.testing.assert_close(mass / share(mass), plain / share(plain))
    torch.testing.assert_close(share(sharp), share(plain))
    torch.testing.assert_close(sharp / share(sharp), taca / share(taca))


@pytest.mark.parametrize("seed", [0, 7])
def test_random_image_keys_are_as_many_as_text_keys_and_named_by_the_seed(seed):
    found = RandomImageKeys(GAMMA, seed).keys(QUERY_V, Keys(KEY_T, KEY_V), 3)
    scaled = (found.image != KEY_V).any(-1)
    assert (scaled.sum(-1) == TEXT).all()
    torch.testing.assert_close(found.image[scaled], GAMMA * KEY_V[scaled])
    again = RandomImageKeys(GAMMA, seed).keys(QUERY_V, Keys(KEY_T, KEY_V), 0)
    assert torch.equal(again.image, found.image)
    assert not torch.equal(RandomImageKeys(GAMMA, seed + 1).keys(QUERY_V, Keys(KEY_T, KEY_V), 3).image, found.image)
    logits = torch.einsum("bhqd,bhkd->bhqk", QUERY_V, torch.cat([KEY_T, found.image], 2)) / math.sqrt(WIDTH)
    image, _ = attend(RandomImageKeys(GAMMA, seed))
    assert (image - torch.einsum("bhqk,bhkd->bhqd", logits.softmax(-1), VALUE)).abs().max() < 1e-12


def test_a_random_direction_changes_logits_by_as_much_as_gamma_does():
    """On average over a layer, sample by sample; the seed names the directions."""
    found = RandomDirection(GAMMA, 1).keys(QUERY_V, Keys(KEY_T, KEY_V), 0)
    logits = torch.einsum("bhqd,bhkd->bhqk", QUERY_V, KEY_T) / math.sqrt(WIDTH)
    change = torch.einsum("bhqd,bhkd->bhqk", QUERY_V, found.text - KEY_T) / math.sqrt(WIDTH)
    torch.testing.assert_close(change.abs().mean((1, 2, 3)), ((GAMMA - 1) * logits).abs().mean((1, 2, 3)))
    other = RandomDirection(GAMMA, 2).keys(QUERY_V, Keys(KEY_T, KEY_V), 0)
    assert not torch.allclose(other.text - KEY_T, found.text - KEY_T)
    moved = torch.einsum("bhqd,bhkd->bhqk", QUERY_V, torch.cat([found.text, KEY_V], 2)) / math.sqrt(WIDTH)
    image, _ = attend(RandomDirection(GAMMA, 1))
    assert (image - torch.einsum("bhqk,bhkd->bhqd", moved.softmax(-1), VALUE)).abs().max() < 1e-12


def test_of_many_queries_some_tell_how_far_a_random_direction_goes(monkeypatch):
    """Evenly spread ones, so that the control costs what TACA costs."""
    monkeypatch.setattr("taca.methods.MEASURED", 4)
    found = RandomDirection(GAMMA, 1).keys(QUERY_V, Keys(KEY_T, KEY_V), 0)
    some = QUERY_V[:, :, ::3]
    logits, change = (torch.einsum("bhqd,bhkd->bhqk", some, key) for key in (KEY_T, found.text - KEY_T))
    torch.testing.assert_close(change.abs().mean((1, 2, 3)), ((GAMMA - 1) * logits).abs().mean((1, 2, 3)))


ALL = [*references(), RandomImageKeys(GAMMA, 0), RandomDirection(GAMMA, 0)]


@pytest.mark.parametrize("method", ALL, ids=lambda method: type(method).__name__)
def test_samples_on_which_a_method_does_not_act_read_what_they_read_without(method):
    image, _ = attend(method, active=(True, False))
    stock = F.scaled_dot_product_attention(QUERY_V, KEY, VALUE)
    assert (image[1] - stock[1]).abs().max() < 1e-12
    assert (image[0] - attend(method)[0][0]).abs().max() < 1e-12


@pytest.mark.parametrize("method", [MassOnly(GAMMA), SharpeningOnly(GAMMA), Bias(0.7)], ids=lambda m: type(m).__name__)
def test_a_bias_is_exact_to_the_dtypes_rounding(method):
    """The part that the first channel's rounding leaves over comes by the second one."""
    exact = references()[method]
    image, _ = attend(method, dtype=torch.bfloat16)
    stock = F.scaled_dot_product_attention(*(x.bfloat16() for x in (QUERY_V, KEY, VALUE)))
    rounding = (stock.double() - F.scaled_dot_product_attention(QUERY_V, KEY, VALUE)).abs().mean()
    assert (image.double() - exact).abs().mean() < 2 * rounding


@pytest.mark.parametrize("method", [MassOnly(GAMMA), SharpeningOnly(GAMMA), Bias(0.7), RandomDirection(GAMMA, 0)])
def test_gradients_flow_through(method):
    """Those of the keys agree with finite differences."""
    acts = torch.ones(1, 1, 1, 1, dtype=torch.bool)

    def read(key):
        rest = {"layer": 0, "text_first": True, "token_dim": -2}
        attention = F.scaled_dot_product_attention
        return method_attention(QUERY_V[:1, :1, :3], None, key, value, acts, method, attention, **rest)[0]

    value = VALUE[:1, :1, : TEXT + 3]
    assert torch.autograd.gradcheck(read, KEY[:1, :1, : TEXT + 3].clone().requires_grad_())


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: MassOnly(0), "`gamma`"),
        (lambda: Temperature(math.nan), "`gamma`"),
        (lambda: SharpeningOnly("1.2"), "`gamma`"),
        (lambda: RandomDirection(1.2), "`seed`"),
        (lambda: RandomImageKeys(1.2, 1.5), "`seed`"),
        (lambda: Bias(math.inf), "`value`"),
        (lambda: LogCountBias(0.0), "`share`"),
    ],
)
def test_bad_methods_are_refused_with_the_remedy(make, named):
    with pytest.raises(TacaError, match=named):
        make()


def test_neutral_parameters_are_said_to_be_neutral():
    assert all(kind(1.0).neutral for kind in (Temperature, MassOnly, SharpeningOnly))
    assert Bias(0).neutral
    assert not any(method.neutral for method in ALL)
