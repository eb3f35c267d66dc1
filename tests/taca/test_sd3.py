"""What is SD3's own under TACA; what every family shares is checked in `test_every_family.py`."""

from functools import partial
from unittest.mock import patch

import pytest
import torch
from diffusers.models.attention import JointTransformerBlock
from tiny_sd3 import IMAGE_TOKENS, TEXT_TOKENS, inputs, predict, relative_error, transformer
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    apply_activation_checkpointing,
    checkpoint_wrapper,
)

from taca import TacaConfig, taca
from taca.processors import TacaJointAttnProcessor

CONFIG = TacaConfig(gamma=1.2, threshold=970.0)


def under_taca(model, arguments, config=CONFIG):
    with taca(model, config):
        return predict(model, arguments)


def test_recomputation_uses_the_gamma_of_its_forward_pass():
    """The backward pass comes after other timesteps went through the model and after TACA was removed."""
    model = transformer().double().train()
    first, second, third = (inputs(t, torch.float64) for t in ([980.0, 400.0], [400.0, 980.0], [400.0, 400.0]))

    def gradients():
        with taca(model, CONFIG):
            losses = [predict(model, arguments).square().sum() for arguments in (first, second, third)]
        losses.append(predict(model, first).square().sum())
        return torch.autograd.grad(sum(losses), list(model.parameters()), allow_unused=True)

    stock = dict(model.attn_processors)
    expected = gradients()
    model.enable_gradient_checkpointing()
    for actual, wanted in zip(gradients(), expected, strict=True):
        assert (actual is None) == (wanted is None)
        if actual is not None:
            torch.testing.assert_close(actual, wanted, rtol=1e-9, atol=1e-12)
    assert model.attn_processors == stock


@pytest.mark.parametrize("impl", CheckpointImpl)
@pytest.mark.parametrize("wrapped_first", [True, False])
def test_blocks_that_pytorch_wraps_are_recomputed_as_they_were_computed(impl, wrapped_first):
    """As FSDP and accelerate checkpoint them; the backward pass comes after TACA was removed."""
    model = transformer().double().train()
    arguments, keys = (
        inputs([980.0, 400.0], torch.float64),
        [block.attn.to_k.weight for block in model.transformer_blocks],
    )
    arguments["hidden_states"].requires_grad_()

    def gradients(wrap):
        with taca(model, CONFIG):
            wrap()
            loss = predict(model, arguments).square().sum()
        return torch.autograd.grad(loss, keys) if impl == CheckpointImpl.NO_REENTRANT else by_backward(loss)

    def by_backward(loss):
        model.zero_grad()
        loss.backward()
        return [key.grad for key in keys]

    def wrap():
        apply_activation_checkpointing(
            model,
            checkpoint_wrapper_fn=partial(checkpoint_wrapper, checkpoint_impl=impl),
            check_fn=lambda module: isinstance(module, JointTransformerBlock),
        )

    expected = gradients(lambda: None)
    if wrapped_first:
        wrap()
    actual = gradients((lambda: None) if wrapped_first else wrap)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_checkpointing_function_is_back_after_each_pass():
    model = transformer().train()
    model.enable_gradient_checkpointing()
    before = model._gradient_checkpointing_func
    under_taca(model, inputs([980.0]))
    assert model._gradient_checkpointing_func is before


def test_autocast_computes_the_same_but_for_rounding():
    model, arguments = transformer(), inputs([980.0, 400.0])
    expected = under_taca(model, arguments)
    with torch.autocast("cpu", torch.bfloat16):
        stock, actual = predict(model, arguments), under_taca(model, arguments)
        inactive = under_taca(model, inputs([400.0, 400.0]))
        assert torch.equal(inactive, predict(model, inputs([400.0, 400.0])))
    assert actual.dtype == stock.dtype
    assert relative_error(actual.float(), expected) < 2e-2
    actual.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_processor_scales_image_queries_only():
    """In one block of the real model: text reads what it reads in the stock model, image tokens something else."""
    attn = transformer().double().transformer_blocks[1].attn
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, IMAGE_TOKENS, 16, generator=generator, dtype=torch.float64)
    text = torch.randn(2, TEXT_TOKENS, 16, generator=generator, dtype=torch.float64)
    stock_image, stock_text = attn(image, text)
    image_output, text_output = TacaJointAttnProcessor(torch.full((2, 1, 1, 1), 1.2, dtype=torch.float64), TEXT_TOKENS)(
        attn, image, text
    )
    torch.testing.assert_close(text_output, stock_text, rtol=1e-12, atol=1e-14)
    assert relative_error(image_output, stock_image) > 1e-3


def test_text_output_of_the_last_block_is_not_computed():
    attn = transformer().transformer_blocks[2].attn
    image, text = torch.randn(1, IMAGE_TOKENS, 16), torch.randn(1, TEXT_TOKENS, 16)
    stock = attn(image, text)[0]
    attention = torch.nn.functional.scaled_dot_product_attention
    with patch("torch.nn.functional.scaled_dot_product_attention", side_effect=attention) as called:
        image_output, text_output = TacaJointAttnProcessor(torch.ones(1, 1, 1, 1), TEXT_TOKENS)(attn, image, text)
    assert called.call_count == 1
    assert text_output is None
    torch.testing.assert_close(image_output, stock)


@torch.no_grad()
def test_image_only_attention_is_left_alone():
    """`attn2` runs its stock processor in an active pass."""
    model = transformer()
    seen = {}
    for name in ("attn", "attn2"):
        module = getattr(model.transformer_blocks[0], name)
        module.register_forward_pre_hook(lambda attn, _, name=name: seen.update({name: type(attn.processor).__name__}))
    under_taca(model, inputs([980.0]))
    assert seen == {"attn": "TacaJointAttnProcessor", "attn2": "JointAttnProcessor2_0"}
