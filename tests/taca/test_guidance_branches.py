"""`TacaConfig(branches="conditional")`: gamma on the conditional branch of classifier-free guidance alone."""

import pytest
import tiny_pipelines
import torch
from tiny_models import CASES, predict
from tiny_sd3 import draw, pipeline, transformer

from taca import TacaConfig, apply_taca, taca

CONDITIONAL = TacaConfig(gamma=2.0, branches="conditional")


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


@pytest.mark.parametrize("build", [tiny_pipelines.flux, tiny_pipelines.qwenimage], ids=["flux", "qwenimage"])
def test_calls_of_their_own_are_told_by_their_context(build):
    """Two calls a step: the unconditional one is the stock model's. The pipeline is as it was afterwards."""
    pipe, passes = build(), []
    pipe.transformer.register_forward_hook(
        lambda model, args, kwargs, output: passes.append((kwargs, output[0].clone())), with_kwargs=True
    )
    stock = tiny_pipelines.draw(pipe)
    passes.clear()
    with taca(pipe, CONDITIONAL):
        assert not torch.equal(tiny_pipelines.draw(pipe), stock)
    (first, conditional), (second, unconditional) = passes[:2]
    with torch.no_grad(), pipe.transformer.cache_context("cond"):
        assert torch.equal(pipe.transformer(**second)[0], unconditional)
        with taca(pipe.transformer, TacaConfig(gamma=2.0)):
            assert torch.equal(pipe.transformer(**first)[0], conditional)
    assert "cache_context" not in vars(pipe.transformer)
    assert torch.equal(tiny_pipelines.draw(pipe), stock)


def test_without_guidance_the_only_branch_is_scaled():
    pipe = tiny_pipelines.flux()
    with taca(pipe, TacaConfig(gamma=2.0)):
        both = tiny_pipelines.draw(pipe, guidance=1.0)
    with taca(pipe, CONDITIONAL):
        assert torch.equal(tiny_pipelines.draw(pipe, guidance=1.0), both)


@torch.no_grad()
def test_a_call_that_names_no_branch_is_refused():
    """As some of FLUX's editing pipelines make them."""
    pipe, case = tiny_pipelines.qwenimage(), next(case for case in CASES if case.name == "qwenimage")
    with taca(pipe, CONDITIONAL), pytest.raises(ValueError, match="does not say which branch"):
        predict(pipe.transformer, case.inputs([980.0]))


def test_a_transformer_alone_is_refused():
    with pytest.raises(ValueError, match="pass the pipeline"):
        apply_taca(transformer(), CONDITIONAL)


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="`branches` must be both or conditional, got 'all'"):
        TacaConfig(branches="all")
