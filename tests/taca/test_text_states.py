"""Text states times a factor: as if the projections of the text had weights so much larger, and nowhere else."""

import copy

import pytest
import tiny_sd3
import torch
from tiny_models import CASES, predict

from taca import remove_taca
from taca.errors import TacaError
from taca.hooks import apply_method, by_method
from taca.text_states import TextStates

FACTOR = 2.0
ADDED = ("add_q_proj", "add_k_proj", "add_v_proj")
FLUX = next(case for case in CASES if case.name == "flux")
MODELS = {
    "sd3": (tiny_sd3.transformer, lambda: tiny_sd3.inputs([900.0, 990.0], torch.float64)),
    "flux": (FLUX.model, lambda: FLUX.inputs([900.0, 990.0], torch.float64)),
}


def blocks_of(model) -> list:
    return [*model.transformer_blocks, *getattr(model, "single_transformer_blocks", [])]


def enlarged(model, chosen, text_tokens: int):
    """A copy whose chosen blocks project text states times the factor: larger weights, or scaled rows of the input."""
    model = copy.deepcopy(model)
    for number in chosen:
        attn = blocks_of(model)[number].attn
        if getattr(attn, "add_k_proj", None) is not None:
            for name in ADDED:
                with torch.no_grad():
                    getattr(attn, name).weight.mul_(FACTOR)
            continue
        factors = torch.ones(1, 10**3, 1, dtype=torch.float64)
        factors[:, :text_tokens] = FACTOR
        for layer in (attn.to_q, attn.to_k, attn.to_v):
            layer.register_forward_pre_hook(
                lambda _, given, factors=factors: (given[0] * factors[:, : given[0].shape[1]],)
            )
    return model


@pytest.fixture(params=MODELS)
def case(request):
    make, inputs = MODELS[request.param]
    return make().double(), inputs()


@pytest.mark.parametrize("which", ["first", "last", "all"])
def test_text_states_are_scaled_in_the_chosen_blocks(case, which):
    model, arguments = case
    count = len(blocks_of(model))
    chosen = {"first": (0,), "last": (count - 1,), "all": None}[which]
    expected = predict(
        enlarged(model, range(count) if chosen is None else chosen, arguments["encoder_hidden_states"].shape[1]),
        arguments,
    )
    stock = predict(model, arguments)
    with by_method(model, TextStates(FACTOR, chosen), threshold=0.0):
        found = predict(model, arguments)
    assert (found - expected).abs().max() < 1e-12
    assert (found - stock).abs().max() > 1e-6
    assert torch.equal(predict(model, arguments), stock)


def test_samples_below_the_threshold_read_the_text_as_it_is(case):
    model, arguments = case
    stock = predict(model, arguments)
    with by_method(model, TextStates(FACTOR), threshold=950.0):
        found = predict(model, arguments)
    assert (found[0] - stock[0]).abs().max() < 1e-12
    assert (found[1] - stock[1]).abs().max() > 1e-6


@pytest.mark.parametrize("method", [TextStates(1.0), TextStates(FACTOR, ())])
def test_neutral_parameters_take_the_stock_path_bitwise(case, method):
    model, arguments = case
    stock = predict(model, arguments)
    with by_method(model, method, threshold=0.0):
        assert torch.equal(predict(model, arguments), stock)


def test_bad_parameters_and_blocks_are_refused_and_the_model_stays_as_it_was(case):
    model, _ = case
    with pytest.raises(TacaError, match="`factor`"):
        TextStates(0.0)
    with pytest.raises(TacaError, match="`blocks`"):
        TextStates(2.0, (-1,))
    with pytest.raises(TacaError, match="`blocks` has 99, but the last of the"):
        apply_method(model, TextStates(2.0, (0, 99)))
    with pytest.raises(TacaError, match="not applied"):
        remove_taca(model)


def test_a_family_without_methods_is_refused():
    model = next(case for case in CASES if case.name == "qwenimage").model()
    with pytest.raises(TacaError, match="Methods other than gamma"):
        apply_method(model, TextStates())
