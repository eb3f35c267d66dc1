"""`TacaConfig(branches="conditional")`: gamma on the conditional branch of classifier-free guidance alone."""

import pytest
import torch
from tiny_models import CASES, predict
from tiny_sd3 import draw, pipeline, transformer

from taca import TacaConfig, apply_taca, taca

CONDITIONAL = TacaConfig(gamma=2.0, branches="conditional")
FLUX = next(case for case in CASES if case.name == "flux")


def test_a_batch_of_both_branches_is_scaled_in_its_second_half():
    """Every pass of a guided SD3 image: the unconditional half is the stock model's."""
    pipe = pipeline(transformer())
    passes = []
    pipe.transformer.register_forward_hook(
        lambda _, args, kwargs, output: passes.append((kwargs, output[0].clone())), with_kwargs=True
    )
    with taca(pipe, CONDITIONAL):
        draw(pipe, steps=6)
    for kwargs, output in passes[:6]:
        stock = pipe.transformer(**kwargs)[0]
        with taca(pipe.transformer, TacaConfig(gamma=2.0)):
            both = pipe.transformer(**kwargs)[0]
        torch.testing.assert_close(output[:1], stock[:1])
        torch.testing.assert_close(output[1:], both[1:])
    assert len(passes) >= 6


@torch.no_grad()
def test_calls_of_their_own_are_told_by_their_context():
    """As FLUX's pipeline makes them; the context manager is the model's own again afterwards."""
    model, arguments = FLUX.model(), FLUX.inputs([980.0])

    class Pipeline:
        guidance_scale = 4.0

    stock = predict(model, arguments)
    with taca(model, TacaConfig(gamma=2.0)):
        scaled = predict(model, arguments)
    with taca_on(model, Pipeline()):
        with model.cache_context("cond"):
            assert torch.equal(predict(model, arguments), scaled)
        with model.cache_context("uncond"):
            assert torch.equal(predict(model, arguments), stock)
    assert "cache_context" not in vars(model)


def taca_on(model, owner):
    """`taca` of a pipeline that is nothing but its transformer and guidance scale."""
    from contextlib import contextmanager

    from taca.families import family_of
    from taca.hooks import TacaHook

    @contextmanager
    def applied():
        hook = TacaHook(model, CONDITIONAL, family_of(model), None, owner)
        hook.register(model)
        yield
        hook.remove(model)

    return applied()


def test_a_transformer_alone_is_refused():
    with pytest.raises(ValueError, match="pass the pipeline"):
        apply_taca(transformer(), CONDITIONAL)


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="`branches` must be both or conditional, got 'all'"):
        TacaConfig(branches="all")
