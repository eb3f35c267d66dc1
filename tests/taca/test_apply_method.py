"""Methods beside gamma on whole models, against formulas written into the stock model from outside."""

import math
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import tiny_pipelines
import torch
from tiny_models import CASES, predict
from tiny_sd3 import draw, pipeline, relative_error, transformer

from taca import TacaConfig, active_steps, apply_taca, is_applied, remove_taca, taca
from taca.errors import TacaError
from taca.hooks import apply_method
from taca.methods import Bias, LogCountBias, MassOnly, RandomDirection, RandomImageKeys, SharpeningOnly, Temperature
from taca.text_states import TextStates

KNOWN = [case for case in CASES if case.name in ("sd3.5", "sd3", "flux")]
OTHERS = [case for case in CASES if case.name in ("flux2", "qwenimage", "cogvideox", "hunyuanvideo")]
GAMMA = 1.7
# Each method by what text logits are multiplied by, and what is added to them: of L_t, L_t' and the counts.
FORMULAS = {
    Temperature(GAMMA): (GAMMA, lambda plain, scaled, image, text: 0.0),
    MassOnly(GAMMA): (1.0, lambda plain, scaled, image, text: scaled - plain),
    SharpeningOnly(GAMMA): (GAMMA, lambda plain, scaled, image, text: plain - scaled),
    Bias(0.7): (1.0, lambda plain, scaled, image, text: 0.7),
    LogCountBias(0.5): (1.0, lambda plain, scaled, image, text: math.log(0.5 * image / text)),
}
METHODS = [*FORMULAS, RandomImageKeys(GAMMA, 0), RandomDirection(GAMMA, 0)]


def named(method) -> str:
    return type(method).__name__


@contextmanager
def written_out(case, method):
    """The formula, logit by logit, in the stock model's joint attention."""
    factor, added = FORMULAS[method]

    def attention(query, key, value, **_):
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if key.shape[-2] == len(case.is_text):
            image, text = ~case.is_text, case.is_text
            read = logits[..., image, :][..., text]
            sums = (read.exp().sum(-1, keepdim=True).log(), (GAMMA * read).exp().sum(-1, keepdim=True).log())
            new = logits[..., image, :].clone()
            new[..., text] = factor * read + added(*sums, int(image.sum()), int(text.sum()))
            logits[..., image, :] = new
        return logits.softmax(-1) @ value

    with patch("torch.nn.functional.scaled_dot_product_attention", attention):
        yield


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
@pytest.mark.parametrize("method", FORMULAS, ids=named)
@torch.no_grad()
def test_a_model_computes_the_formula(case, method):
    model, arguments = case.model().double(), case.inputs([1000.0, 980.0], torch.float64)
    stock = predict(model, arguments)
    with written_out(case, method):
        expected = predict(model, arguments)
    apply_method(model, method)
    found = predict(model, arguments)
    remove_taca(model)
    assert relative_error(found, expected) < 1e-12
    assert relative_error(found, stock) > 1e-4
    assert torch.equal(predict(model, arguments), stock)


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
@torch.no_grad()
def test_temperature_is_taca(case):
    model, arguments = case.model(), case.inputs([1000.0, 500.0])
    with taca(model, TacaConfig(gamma=GAMMA)):
        expected = predict(model, arguments)
    apply_method(model, Temperature(GAMMA))
    assert relative_error(predict(model, arguments), expected) < 1e-6


@pytest.mark.parametrize(
    "method", [Temperature(1.0), MassOnly(1.0), SharpeningOnly(1), Bias(0), RandomDirection(1.0, 3)]
)
@torch.no_grad()
def test_neutral_parameters_take_the_stock_path_bitwise(method):
    for case in KNOWN:
        model, arguments = case.model(), case.inputs([1000.0])
        stock = predict(model, arguments)
        apply_method(model, method)
        assert torch.equal(predict(model, arguments), stock)


@pytest.mark.parametrize("method", METHODS, ids=named)
@torch.no_grad()
def test_a_method_acts_in_its_window_alone(method):
    """Just below the threshold, say, for as many steps as TACA acts above it; all other steps are bitwise stock."""
    model = transformer()
    apply_method(model, method, threshold=900.0, until=970.0)
    acts = []
    for timestep in (1000.0, 970.0, 969.0, 900.0, 899.0):
        arguments = KNOWN[0].inputs([timestep])
        found = predict(model, arguments)
        remove_taca(model)
        acts.append(not torch.equal(found, predict(model, arguments)))
        apply_method(model, method, threshold=900.0, until=970.0)
    assert acts == [False, False, True, True, False]


@torch.no_grad()
def test_a_pipeline_draws_by_a_method_and_is_the_stock_one_afterwards():
    pipe = pipeline(transformer())
    stock = draw(pipe, steps=6)
    apply_method(pipe, MassOnly(2.0))
    assert is_applied(pipe)
    assert not torch.equal(draw(pipe, steps=6), stock)
    remove_taca(pipe)
    assert torch.equal(draw(pipe, steps=6), stock)


def test_active_steps_are_those_of_the_method_that_is_applied():
    pipe = pipeline(transformer())
    apply_method(pipe, MassOnly(1.2), threshold=600.0, until=970.0)
    told = active_steps(pipe, 6, 8, 8)
    assert [step for step, _ in told] == [1, 2, 3]
    assert all(600.0 <= t < 970.0 for _, t in told)


@pytest.mark.long
@torch.no_grad()
def test_compiled_blocks_take_a_method():
    case = KNOWN[2]
    model, arguments = case.model(), case.inputs([1000.0])
    apply_method(model, MassOnly(GAMMA))
    expected = predict(model, arguments)
    remove_taca(model)
    model.compile_repeated_blocks(backend="eager", fullgraph=True)
    apply_method(model, MassOnly(GAMMA))
    torch.testing.assert_close(predict(model, arguments), expected)


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.name)
def test_a_family_that_cannot_have_a_method_says_so(case):
    model = case.model()
    with pytest.raises(TacaError, match="Methods other than gamma support SD3Transformer2DModel and"):
        apply_method(model, MassOnly(1.2))
    assert not is_applied(model)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model: apply_method(model, "mass"), "str is not a method: pass one of `taca.methods`"),
        (lambda model: apply_method(model, MassOnly(1.2), threshold=1200.0), "`threshold`"),
        (lambda model: apply_method(model, MassOnly(1.2), threshold=970.0, until=970.0), "`until` must lie above"),
        (lambda model: apply_method(model, MassOnly(1.2), until="990"), "`until` must lie above"),
        (lambda model: apply_method(model, TextStates(2.0, 3)), "`blocks` must be whole numbers"),
        (
            lambda model: apply_method(model, MassOnly(1.2), scheduler="euler"),
            "`scheduler` must be a scheduler of diff",
        ),
        (lambda model: (apply_taca(model), apply_method(model, MassOnly(1.2))), "call `remove_taca` first"),
    ],
)
def test_what_cannot_be_honoured_is_refused(call, said):
    with pytest.raises(TacaError, match=said):
        call(transformer())


@torch.no_grad()
def test_a_backend_that_rounds_keys_is_refused(monkeypatch):
    pipe = tiny_pipelines.flux()
    apply_method(pipe, Bias(0.5))
    for module in pipe.transformer.modules():
        if hasattr(getattr(module, "processor", None), "_attention_backend"):
            module.processor._attention_backend = "sage"
    with pytest.raises(TacaError, match="rounds keys to 8 bits"):
        tiny_pipelines.draw(pipe, 2)
