"""What the benchmarks of methods measure: time in turn, change of logits, attention to the text."""

import pytest
import torch

from benchmarks import methods as cost
from benchmarks.dose import Recorded, dose_lines, methods
from benchmarks.timing import compare
from taca.methods import Bias, Keys, RandomDirection, Temperature


@pytest.fixture
def heads():
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 11, 8), (2, 3, 5, 8), (2, 3, 11, 8))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_a_dose_is_the_mean_change_of_text_logits_and_the_texts_share(heads):
    query, text, image = heads
    logits = query @ text.transpose(-1, -2) / 8**0.5
    recorded = Recorded(Temperature(1.5))
    new = recorded.keys(query, Keys(text, image), 0)
    assert torch.equal(new.text, Temperature(1.5).keys(query, Keys(text, image), 0).text)
    assert recorded.change == [pytest.approx((0.5 * logits).abs().mean().item())]
    weights = torch.cat([1.5 * logits, query @ image.transpose(-1, -2) / 8**0.5], -1).softmax(-1)
    assert recorded.mass == [pytest.approx(weights[..., :5].sum(-1).mean().item())]


def test_a_bias_is_its_own_dose_and_a_random_direction_has_tacas(heads):
    query, text, image = heads
    found = {}
    for method in (Bias(0.7), Temperature(1.5), RandomDirection(1.5, 0)):
        recorded = found[type(method).__name__] = Recorded(method)
        recorded.keys(query[:1], Keys(text[:1], image[:1]), 0)
    assert found["Bias"].change == [pytest.approx(0.7)]
    assert found["RandomDirection"].change == pytest.approx(found["Temperature"].change)
    assert len(dose_lines(found)) == 2 + len(found)


def test_every_method_of_the_benchmarks_runs_and_is_compared_with_plain_attention(monkeypatch):
    for name, size in {"TEXT": 4, "IMAGE": 16, "WIDTH": 8}.items():
        monkeypatch.setattr(cost, name, size)
    figures = compare(cost.method_runs(2, "cpu"), 2, "cpu")
    assert not any("failed" in found for found in figures.values())
    lines = cost.method_lines({"methods": figures, "guiders": {}})
    assert len(lines) == 2 + len(figures) + 3  # an empty line and the heading of the guiders' table
    assert len({type(method) for method in methods().values()} - {type(m) for m in cost.METHODS}) == 2  # the rules
