"""Every family against Eq. 10 as an onlooker of its stock transformer would write it, who knows no family."""

from contextlib import contextmanager
from dataclasses import replace

import diffusers
import pytest
import torch
from observed_taca import explicit_taca, joint_attention
from tiny_families import CASES, FamilyCase, predict
from tiny_sd3 import relative_error
from torch._dynamo.testing import CompileCounter

from taca import TacaConfig, apply_taca, remove_taca, taca
from taca.families import FAMILIES, attention_modules, family_of
from taca.tokens import InTurn, Run, Scattered, Segments, Tokens

CONFIG = TacaConfig(gamma=1.2, threshold=970.0)
MIXED = [980.0, 400.0]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request) -> FamilyCase:
    return request.param


def observed(case: FamilyCase, model, arguments):
    others = (case.other(arguments, names) for names in (case.prompt, case.latents))
    return joint_attention(lambda given: predict(model, given), arguments, *others, case.other_drawn(arguments))


def test_there_is_a_case_of_every_family():
    installed = {family.transformer for family in FAMILIES if hasattr(diffusers, family.transformer)}
    assert {case.transformer for case in CASES} == installed


@torch.no_grad()
def test_a_pass_equals_the_explicit_logits(case):
    """In float64, with one sample above the threshold and one below, and with both above."""
    model = case.model().double()
    for levels in (MIXED, [1000.0, 970.0]):
        arguments = case.inputs(levels)
        joint = observed(case, model, arguments)
        with explicit_taca(joint, case.gammas(levels, 1.2)):
            expected = predict(model, arguments)
        with taca(model, CONFIG):
            actual = predict(model, arguments)
        assert relative_error(actual, expected) <= 1e-12
        assert relative_error(predict(model, arguments), expected) > 1e-9


@torch.no_grad()
def test_passes_below_the_threshold_and_after_removal_are_bitwise_stock(case):
    model = case.model()
    above, below = (case.inputs(levels, torch.float32) for levels in ([980.0, 975.0], [969.0, 20.0]))
    stock_above, stock_below = predict(model, above), predict(model, below)
    with taca(model, CONFIG):
        assert not torch.equal(predict(model, above), stock_above)
        assert torch.equal(predict(model, below), stock_below)
    assert torch.equal(predict(model, above), stock_above)


@torch.no_grad()
def test_projections_fused_between_two_passes_are_used():
    """AuraFlow's stock processor is another one then, from which the replacement is derived anew."""
    case = next(case for case in CASES if case.name == "auraflow")
    model, arguments = case.model(), case.inputs([980.0], torch.float32)
    with taca(model, CONFIG):
        expected = predict(model, arguments)
        model.fuse_qkv_projections()
        for name, weight in model.named_parameters():
            if ".to_k." in name:
                weight.zero_()
        torch.testing.assert_close(predict(model, arguments), expected)


def test_an_adapter_learns_what_it_would_learn_from_the_explicit_logits(case):
    """Also with gradient checkpointing, where the class has it."""
    from peft import LoraConfig, inject_adapter_in_model

    model = case.model().double().train()
    arguments = case.inputs(MIXED)
    joint = observed(case, model, arguments)
    model.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=2, init_lora_weights=False, target_modules=list(case.lora)), model)
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def gradients():
        found = torch.autograd.grad(predict(model, arguments).square().sum(), weights, allow_unused=True)
        pairs = zip(weights, found, strict=True)
        return torch.cat([torch.zeros_like(w).flatten() if g is None else g.flatten() for w, g in pairs])

    with explicit_taca(joint, case.gammas(MIXED, 1.2)):
        expected = gradients()
    with taca(model, CONFIG):
        assert relative_error(gradients(), expected) <= case.tolerance
        if model._supports_gradient_checkpointing and case.checkpointing:
            model.enable_gradient_checkpointing()
            assert relative_error(gradients(), expected) <= case.tolerance


@pytest.mark.slow
@torch.no_grad()
def test_compiled_blocks_have_one_graph_for_every_gamma(case):
    """And give what they give uncompiled."""
    torch._dynamo.reset()
    model, counter = case.model(), CompileCounter()
    arguments = case.inputs([980.0, 980.0], torch.float32)
    with taca(model, gamma=1.5):
        expected = predict(model, arguments)
    names = {module: name for name, module in model.named_modules()}
    for site in attention_modules(model, family_of(model)):
        model.get_submodule(names[site].rpartition(".")[0]).compile(backend=counter)
    with taca(model, gamma=1.2):
        predict(model, arguments)
    graphs = counter.frame_count
    with taca(model, gamma=1.5):
        torch.testing.assert_close(predict(model, arguments), expected)
    assert 0 < graphs == counter.frame_count


def swapped(tokens: Tokens) -> Tokens:
    if isinstance(tokens, Run):
        return replace(tokens, text_first=not tokens.text_first)
    if isinstance(tokens, Segments):
        return Segments([not text for text in tokens.is_text])
    if isinstance(tokens, InTurn):
        return InTurn([swapped(sample) for sample in tokens.samples])
    return Scattered(~tokens.is_text, tokens.is_text)


def one_short(tokens: Tokens) -> Tokens:
    """The first text token is taken for none."""
    if isinstance(tokens, Run):
        others = tokens.num_other_tokens + tokens.text_first
        return replace(tokens, num_text_tokens=tokens.num_text_tokens - 1, num_other_tokens=others)
    if isinstance(tokens, Segments):
        first = tokens.is_text.index(True)
        return Segments([text and place != first for place, text in enumerate(tokens.is_text)])
    if isinstance(tokens, InTurn):
        return InTurn([one_short(sample) for sample in tokens.samples])
    is_text = tokens.is_text.clone()
    first = is_text.to(torch.int8).argmax(dim=1)
    is_text[torch.arange(len(first)), first] = False
    return Scattered(is_text, tokens.is_image)


@contextmanager
def mutated(model, mutation: str):
    """TACA with a fault."""
    apply_taca(model, CONFIG)
    hook = model._taca_hook
    if mutation == "one site dropped":
        hook.sites = dict(list(hook.sites.items())[:-1])
    else:
        change, tokens = {"order swapped": swapped, "one text token too few": one_short}[mutation], hook.family.tokens
        hook.family = replace(hook.family, tokens=lambda *given: change(tokens(*given)))
        # Hand-written processors ask nobody where two streams have their text.
        hook.sites = {module: replace(site, processor=None) for module, site in hook.sites.items()}
    yield
    remove_taca(model)


@pytest.mark.parametrize("mutation", ["order swapped", "one site dropped", "one text token too few"])
@torch.no_grad()
def test_a_fault_is_seen(case, mutation):
    model, arguments = case.model().double(), case.inputs([980.0, 980.0])
    with taca(model, CONFIG):
        right = predict(model, arguments)
    with mutated(model, mutation):
        wrong = predict(model, arguments)
    assert relative_error(wrong, right) > 1e-9
