"""An adapter that is on only where TACA acts: `TacaConfig(adapter=...)`."""

import pytest
import torch
from peft import LoraConfig
from tiny_models import CASES, predict
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from taca import TacaConfig, apply_taca, taca

LORA = LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v"])


@pytest.fixture(
    params=[case for case in CASES if case.name in ("sd3.5", "flux", "qwenimage")], ids=lambda case: case.name
)
def case(request):
    return request.param


@pytest.fixture
def model(case):
    with torch.no_grad():
        yield case.model()


def state(model) -> list:
    """What a pass could leave changed in the adapter's layers."""
    layers = [module for module in model.modules() if hasattr(module, "lora_A")]
    flags = [(layer.active_adapters, layer.disable_adapters) for layer in layers]
    return [flags, [w.requires_grad for w in model.parameters()]]


def test_it_works_above_the_threshold_and_is_off_below(case, model):
    """Bit for bit the base below, for a second image too, and the adapter alone with gamma 1 above."""
    early, late = case.inputs([980.0, 975.0]), case.inputs([960.0, 300.0])
    base = predict(model, late)
    model.add_adapter(LORA, adapter_name="mine")
    adapted, adapted_late = predict(model, early), predict(model, late)
    before = state(model)
    with taca(model, TacaConfig(gamma=1.0, adapter="mine")):
        for _ in range(2):
            assert torch.equal(predict(model, early), adapted)
            assert torch.equal(predict(model, late), base)
            assert state(model) == before
    assert torch.equal(predict(model, late), adapted_late)
    assert not torch.equal(adapted_late, base)


def test_together_with_gamma(case, model):
    early = case.inputs([980.0, 975.0])
    model.add_adapter(LORA, adapter_name="mine")
    with taca(model, TacaConfig(gamma=1.5)):
        expected = predict(model, early)
    with taca(model, TacaConfig(gamma=1.5, adapter="mine")):
        assert torch.equal(predict(model, early), expected)


def test_other_adapters_stay_on(case, model):
    """Only the named one is switched."""
    late = case.inputs([500.0])
    model.add_adapter(LORA, adapter_name="style")
    styled = predict(model, late)
    model.add_adapter(LORA, adapter_name="mine")
    model.set_adapters(["style", "mine"])
    with taca(model, TacaConfig(gamma=1.2, adapter="mine")):
        assert torch.equal(predict(model, late), styled)


def test_an_adapter_loaded_but_not_active_is_switched_on(case, model):
    early = case.inputs([980.0])
    model.add_adapter(LORA, adapter_name="mine")
    adapted = predict(model, early)
    model.disable_adapters()
    plain = predict(model, early)
    with taca(model, TacaConfig(gamma=1.0, adapter="mine")):
        assert torch.equal(predict(model, early), adapted)
    assert torch.equal(predict(model, early), plain)


def test_whole_modules_of_an_adapter_go_with_it(case, model):
    """Those that peft keeps for it, `modules_to_save`; another adapter's come back below."""
    stock = [predict(model, case.inputs([t])) for t in (980.0, 500.0)]
    whole = LoraConfig(r=2, target_modules=["to_q"], modules_to_save=["proj_out"])
    for name, shift in (("other", 2.0), ("mine", 1.0)):
        model.add_adapter(whole, adapter_name=name)
        model.proj_out.modules_to_save[name].bias.add_(shift)
    model.proj_out.set_adapter("other")
    with taca(model, TacaConfig(gamma=1, adapter="mine")):
        actual = [predict(model, case.inputs([t])) for t in (980.0, 500.0)]
    for one, other, shift in zip(actual, stock, (1.0, 2.0), strict=True):
        torch.testing.assert_close(one, other + shift)


def test_an_unknown_adapter_is_refused_with_those_there_are(model):
    with pytest.raises(ValueError, match=r"`adapter` is 'mine', and this .* has none"):
        apply_taca(model, TacaConfig(adapter="mine"))
    model.add_adapter(LORA, adapter_name="other")
    with pytest.raises(ValueError, match="has 'other': load it first"):
        apply_taca(model, TacaConfig(adapter="mine"))


def test_a_fused_adapter_is_refused(case, model):
    """Also when it is fused later."""
    model.add_adapter(LORA, adapter_name="mine")
    with taca(model, TacaConfig(adapter="mine")):
        model.fuse_lora(adapter_names=["mine"])
        with pytest.raises(ValueError, match="fused into the weights"):
            predict(model, case.inputs([500.0]))
    with pytest.raises(ValueError, match="fused into the weights"):
        apply_taca(model, TacaConfig(adapter="mine"))


def test_any_fused_adapter_is_refused(case, model):
    """Switched off beside another one that is fused, peft would unfuse that for good."""
    model.add_adapter(LORA, adapter_name="style")
    model.add_adapter(LORA, adapter_name="mine")
    model.fuse_lora(adapter_names=["style"])
    with pytest.raises(ValueError, match="fused into the weights"):
        apply_taca(model, TacaConfig(adapter="mine"))


def test_an_adapter_that_is_loaded_again_is_switched_too(case, model):
    late = case.inputs([500.0])
    base = predict(model, late)
    model.add_adapter(LORA, adapter_name="mine")
    with taca(model, TacaConfig(adapter="mine")):
        model.unload_lora()
        model.add_adapter(LORA, adapter_name="mine")
        assert torch.equal(predict(model, late), base)


def test_an_adapter_that_is_deleted_meanwhile_is_named(case, model):
    model.add_adapter(LORA, adapter_name="mine")
    with taca(model, TacaConfig(adapter="mine")):
        model.delete_adapters("mine")
        with pytest.raises(ValueError, match=r"`adapter` is 'mine', and this .* has none: load it first"):
            predict(model, case.inputs([500.0]))


def test_a_pass_of_mixed_timesteps_is_refused(case, model):
    model.add_adapter(LORA, adapter_name="mine")
    with taca(model, TacaConfig(adapter="mine")), pytest.raises(ValueError, match="mixes timesteps"):
        predict(model, case.inputs([980.0, 500.0]))


@pytest.mark.parametrize("own", [True, False], ids=["of diffusers", "of PyTorch"])
def test_gradient_checkpointing_is_refused(case, model, own):
    model.add_adapter(LORA, adapter_name="mine")
    model.train()
    if own:
        model.enable_gradient_checkpointing()
    else:
        model.transformer_blocks[0] = checkpoint_wrapper(model.transformer_blocks[0])
    refused = pytest.raises(ValueError, match="gradient checkpointing")
    with torch.enable_grad(), taca(model, TacaConfig(adapter="mine")), refused:
        predict(model, case.inputs([980.0]))


@pytest.mark.parametrize("adapter", ["", 3])
def test_what_is_no_name_is_refused(adapter):
    with pytest.raises(ValueError, match="`adapter` must be the name"):
        TacaConfig(adapter=adapter)
