"""TACA in the whole transformer of each family, against Eq. 10 written out in the stock one."""

from dataclasses import replace

import pytest
import torch
from tiny_models import CASES, explicit_taca, predict
from tiny_sd3 import relative_error

from taca import TacaConfig, taca
from taca.families import attention_modules, family_of

CONFIG = TacaConfig(gamma=1.2, threshold=970.0)


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    return request.param


def under_taca(model, arguments, config=CONFIG):
    with taca(model, config):
        return predict(model, arguments)


def one_sample(arguments: dict, sample: int) -> dict:
    """The same pass for one of its samples."""
    batch = len(arguments["timestep"])
    return {
        name: value[sample : sample + 1]
        if isinstance(value, list) or (torch.is_tensor(value) and len(value) == batch and "ids" not in name)
        else value
        for name, value in arguments.items()
    }


@torch.no_grad()
def test_model_equals_the_explicit_logits_in_float64(case):
    model, arguments = case.model().double(), case.inputs([1000.0, 975.0], torch.float64)
    for gamma in (0.6, 1.2, 2.0):
        with explicit_taca(case, gamma):
            expected = predict(model, arguments)
        assert relative_error(under_taca(model, arguments, TacaConfig(gamma)), expected) <= 1e-12
    assert relative_error(predict(model, arguments), expected) > 1e-6


@torch.no_grad()
def test_mixed_batch_is_right_for_each_sample(case):
    model = case.model().double()
    arguments = case.inputs([990.0, 500.0, 970.0, 969.0], torch.float64)
    actual, stock = under_taca(model, arguments), predict(model, arguments)
    for sample, active in enumerate([True, False, True, False]):
        with explicit_taca(case, 1.2 if active else 1.0):
            expected = predict(model, one_sample(arguments, sample))
        assert relative_error(actual[sample : sample + 1], expected) <= 1e-12
        assert (relative_error(actual[sample], stock[sample]) > 1e-6) == active


@pytest.mark.parametrize("timesteps", [[980.0, 980.0], [980.0, 400.0]], ids=["all", "mixed"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_those_of_the_explicit_logits(case, timesteps, checkpointing):
    """Of every weight and of both inputs."""
    model = case.model().double().train()
    arguments = case.inputs(timesteps, torch.float64)
    leaves = [arguments[name].requires_grad_() for name in ("hidden_states", "encoder_hidden_states")]
    leaves += list(model.parameters())

    def gradients():
        return torch.autograd.grad(predict(model, arguments).square().sum(), leaves, allow_unused=True)

    gamma = [1.2 if t >= 970 else 1.0 for t in timesteps]
    with explicit_taca(case, torch.tensor(gamma, dtype=torch.float64).reshape(-1, 1, 1, 1)):
        expected = gradients()
    if checkpointing:
        model.enable_gradient_checkpointing()
    with taca(model, CONFIG):
        actual = gradients()
    for leaf, one, other in zip(leaves, actual, expected, strict=True):
        # None and zero both say that a weight has no influence.
        one, other = (torch.zeros_like(leaf) if x is None else x for x in (one, other))
        assert (one - other).norm() <= 1e-12 * max(other.norm(), 1.0)


def on_meta(value):
    if isinstance(value, tuple):
        return tuple(map(on_meta, value))
    return value.to("meta") if torch.is_tensor(value) else value


def test_at_threshold_zero_no_value_is_read(case):
    """Forward and backward run on the meta device, which has none: on a GPU the host never waits for a timestep."""
    if case.padded:
        pytest.skip("diffusers itself reads the mask of padded text")
    model = case.model().to("meta")
    arguments = {name: on_meta(value) for name, value in case.inputs([980.0, 20.0]).items()}
    with taca(model, TacaConfig(gamma=1.2, threshold=0.0)):
        predict(model, arguments).sum().backward()
    with taca(model, CONFIG), pytest.raises((RuntimeError, NotImplementedError), match=r"meta|item"):
        predict(model, arguments)


@torch.no_grad()
def test_inactive_steps_gamma_one_and_the_removed_state_are_bitwise_stock(case):
    model = case.model()
    active, inactive = case.inputs([980.0, 975.0]), case.inputs([960.0, 20.0])
    stock, stock_inactive = predict(model, active), predict(model, inactive)
    with taca(model, CONFIG):
        assert not torch.equal(predict(model, active), stock)
        assert torch.equal(predict(model, inactive), stock_inactive)
    assert torch.equal(predict(model, active), stock)
    assert torch.equal(under_taca(model, active, TacaConfig(gamma=1)), stock)


def in_float64(arguments: dict) -> dict:
    return {name: x.double() if torch.is_tensor(x) and x.is_floating_point() else x for name, x in arguments.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_rounding_error_is_that_of_the_stock_model(case, dtype):
    """Against float64, over ten inputs: at most 1.5 times the stock model's own error."""
    exact_model, model = case.model().to(dtype).double(), case.model().to(dtype)
    errors, stock_errors = [], []
    for seed in range(10):
        rounded = case.inputs([1000.0, 1000.0], dtype, seed)
        exact = in_float64(rounded)
        stock_errors.append(relative_error(predict(model, rounded).double(), predict(exact_model, exact)))
        errors.append(relative_error(under_taca(model, rounded).double(), under_taca(exact_model, exact)))
    assert sum(errors) <= 1.5 * sum(stock_errors)


@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_error_of_gradients_is_that_of_the_stock_model(case, dtype):
    """Of both inputs and of a LoRA adapter's weights, over five inputs."""
    exact_model, model = (with_lora(case.model().to(dtype)) for _ in range(2))
    exact_model.double()

    def gradients(model, arguments, config):
        leaves = [arguments[name].requires_grad_() for name in ("hidden_states", "encoder_hidden_states")]
        leaves += [w for w in model.parameters() if w.requires_grad]
        with taca(model, config):
            found = torch.autograd.grad(predict(model, arguments).square().sum(), leaves, allow_unused=True)
        return [torch.zeros_like(leaf) if x is None else x for leaf, x in zip(leaves, found, strict=True)]

    errors = {1.0: 0.0, 1.2: 0.0}
    for seed in range(5):
        for gamma in errors:
            rounded = case.inputs([1000.0, 1000.0], dtype, seed)
            exact = in_float64({name: x.detach() if torch.is_tensor(x) else x for name, x in rounded.items()})
            config = TacaConfig(gamma=gamma)
            pairs = zip(gradients(model, rounded, config), gradients(exact_model, exact, config), strict=True)
            errors[gamma] += sum(relative_error(one.double(), other) for one, other in pairs if other.norm() > 0)
    assert errors[1.2] <= 1.5 * errors[1.0]


@torch.no_grad()
def test_linear_layers_are_called_in_the_stock_order(case):
    """Offloading fetches the next layer's weights ahead, in the order that it saw first."""
    model, order = case.model(), []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda *_, name=name: order.append(name))
    predict(model, case.inputs([980.0]))
    stock = list(order)
    order.clear()
    under_taca(model, case.inputs([980.0]))
    last = f"transformer_blocks.{len(model.transformer_blocks) - 1}.attn.to_add_out"
    assert order == [name for name in stock if name != last or not case.name.startswith("sd3")]


@torch.no_grad()
def test_other_text_lengths_are_taken_as_they_come(case):
    """A second prompt of another length through the same applied TACA."""
    if case.name == "cogvideox":
        pytest.skip("the position embedding of CogVideoX-2b fixes the text's length")
    model, arguments = case.model().double(), case.inputs([980.0], torch.float64)
    with taca(model, CONFIG):
        predict(model, arguments)
        shorter = dict(arguments)
        if "txt_ids" in arguments:
            shorter["txt_ids"] = arguments["txt_ids"][..., :-2, :]
        for name in ("encoder_hidden_states", "encoder_hidden_states_mask", "encoder_attention_mask"):
            if name in shorter:
                shorter[name] = shorter[name][:, :-2]
        actual = predict(model, shorter)
    with explicit_taca(replace(case, text_tokens=case.text_tokens - 2), 1.2):
        assert relative_error(actual, predict(model, shorter)) <= 1e-12


@torch.no_grad()
def test_every_site_acts_and_nothing_else(case):
    """All joint attention runs a replacement processor in an active pass; all other attention runs what it has."""
    model, seen = case.model(), {}
    sites = attention_modules(model, family_of(model))
    attentions = {module for module in model.modules() if hasattr(module, "processor")}
    for module in attentions:
        module.register_forward_pre_hook(lambda attn, *_: seen.update({attn: type(attn.processor)}))
    under_taca(model, case.inputs([980.0]))
    assert set(seen) == attentions
    for module, processor in seen.items():
        assert processor is (sites[module].replacement(module) if module in sites else type(module.processor))


@torch.no_grad()
def test_fused_projections_give_the_same(case):
    """`fuse_qkv_projections` before or after TACA is applied, and undone again."""
    model, arguments = case.model().double(), case.inputs([980.0, 400.0], torch.float64)
    expected = under_taca(model, arguments)
    if not hasattr(model, "fuse_qkv_projections"):
        pytest.skip(f"{type(model).__name__} has no fused projections in diffusers")
    if case.name == "sd3.5":
        model.fuse_qkv_projections()
        with taca(model, CONFIG), pytest.raises(ValueError, match="leaves out QK-norm"):
            predict(model, arguments)
        return
    with taca(model, CONFIG):
        model.fuse_qkv_projections()
        assert relative_error(predict(model, arguments), expected) <= 1e-12
    assert relative_error(under_taca(model, arguments), expected) <= 1e-12
    model.unfuse_qkv_projections()
    assert relative_error(under_taca(model, arguments), expected) <= 1e-12
    # Whatever is left of the fused weights is not used any more.
    for name, weight in model.named_parameters():
        if ".to_k." in name:
            weight.mul_(1.5)
    with explicit_taca(case, torch.tensor([1.2, 1.0], dtype=torch.float64).reshape(-1, 1, 1, 1)):
        changed = predict(model, arguments)
    assert relative_error(under_taca(model, arguments), changed) <= 1e-12


def with_lora(model):
    """A random peft adapter on all attention projections that the family has."""
    from peft import LoraConfig

    names = ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "to_qkv_mlp_proj")
    present = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    model.requires_grad_(False)
    targets = [name for name in names if name in present]
    torch.manual_seed(2)
    model.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=targets))
    return model


@pytest.mark.parametrize("checkpointing", [False, True])
def test_lora_learns_under_taca_what_it_would_learn_from_the_explicit_logits(case, checkpointing):
    """An adapter that is added after TACA was applied."""
    model = case.model().double().train()
    arguments = case.inputs([980.0, 980.0], torch.float64)
    with taca(model, CONFIG):
        weights = [w for w in with_lora(model).parameters() if w.requires_grad]
        if checkpointing:
            model.enable_gradient_checkpointing()
        actual = torch.autograd.grad(predict(model, arguments).sum(), weights, allow_unused=True)
    model.disable_gradient_checkpointing()
    with explicit_taca(case, 1.2):
        expected = torch.autograd.grad(predict(model, arguments).sum(), weights, allow_unused=True)
    for weight, one, other in zip(weights, actual, expected, strict=True):
        one, other = (torch.zeros_like(weight) if x is None else x for x in (one, other))
        assert (one - other).norm() <= 1e-12 * max(other.norm(), 1.0)
