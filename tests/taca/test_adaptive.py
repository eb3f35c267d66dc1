"""A gamma that adapts, against its definition written out in float64 without a line of `taca`."""

import math

import pytest
import torch
from tiny_models import CASES, predict

from taca import remove_taca
from taca.adaptive import MassRule, RatioRule, mass_gamma, ratio_gamma
from taca.errors import TacaError
from taca.hooks import apply_method
from taca.methods import Keys, Temperature

BATCH, HEADS, IMAGE, TEXT, WIDTH = 2, 3, 40, 5, 16


def heads(seed: int, tokens: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(BATCH, HEADS, tokens, WIDTH, dtype=torch.float64, generator=generator)


QUERY, KEY_T, KEY_V = heads(0, IMAGE), heads(1, TEXT), heads(2, IMAGE)


def mass(gamma: float, added: float = 0.0) -> torch.Tensor:
    """What the text gets of image queries' attention on average, (B, H)."""
    text = (gamma * torch.einsum("bhqd,bhkd->bhqk", QUERY, KEY_T) / math.sqrt(WIDTH)).exp().sum(-1) * math.exp(added)
    image = (torch.einsum("bhqd,bhkd->bhqk", QUERY, KEY_V) / math.sqrt(WIDTH)).exp().sum(-1)
    return (text / (text + image)).mean(-1)


@pytest.mark.parametrize(
    ("image", "text", "expected"), [(4096, 512, 1.2), (64, 16, 1.1333333), (77, 77, 1.0), (64, 256, 1.0)]
)
def test_the_ratio_rule(image, text, expected):
    """The paper's gamma at FLUX.1's ratio, 1.133 in the built-in world, and never below 1."""
    assert ratio_gamma(image, text) == pytest.approx(expected)


def test_the_mass_rule_gives_the_text_what_is_due_to_it():
    """Head by head, by the definition; heads without a solution keep 1 and are counted."""
    due = mass(1.0, math.log(IMAGE / TEXT) / 2)
    possible = (mass(1.0) <= due) & (due <= mass(4.0))
    gamma, solved = mass_gamma(QUERY, KEY_T, KEY_V)
    assert torch.equal(solved[..., 0, 0], possible)
    assert possible.any()
    for sample in range(BATCH):
        for head in range(HEADS):
            found = gamma[sample, head].item()
            if possible[sample, head]:
                assert abs(mass(found)[sample, head] - due[sample, head]) < 1e-12
            else:
                assert found == 1
    rule = MassRule(0)
    keys = rule.keys(QUERY, Keys(KEY_T, KEY_V), 0)
    assert rule.heads == {"solved": int(possible.sum()), "unsolved": int((~possible).sum())}
    torch.testing.assert_close(keys.text, gamma * KEY_T)


def test_a_head_in_which_no_gamma_does_it_keeps_1():
    """Image keys that draw all attention to themselves: even gamma 4 is too little."""
    gamma, solved = mass_gamma(QUERY, KEY_T * 1e-3, KEY_V)
    assert not solved.any()
    assert (gamma == 1).all()


@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("sd3", "flux")], ids=lambda case: case.name)
@torch.no_grad()
def test_the_rules_act_on_models(case):
    """The ratio rule is TACA with its gamma; the mass rule is another, and gives the same again."""
    model, arguments = case.model(), case.inputs([1000.0])

    def read(method):
        apply_method(model, method)
        found = predict(model, arguments)
        remove_taca(model)
        return found

    stock = predict(model, arguments)
    assert torch.equal(read(RatioRule()), read(Temperature(ratio_gamma(16, case.text_tokens))))
    assert not torch.equal(read(MassRule(1)), stock)
    assert torch.equal(read(MassRule(1)), read(MassRule(1)))


def test_a_mass_rule_without_a_seed_is_refused():
    with pytest.raises(TacaError, match="`seed`"):
        MassRule(None)
