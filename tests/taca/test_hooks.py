"""`apply_taca`, `remove_taca`, `taca`: when TACA acts, and that nothing of it is left behind."""

import copy
import dataclasses
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.attention_processor import JointAttnProcessor2_0
from tiny_sd3 import draw, inputs, pipeline, predict, relative_error, transformer
from torch import nn

from taca import TacaConfig, apply_taca, is_applied, remove_taca, taca

CONFIG = TacaConfig(gamma=1.2, threshold=970.0)
ACTIVE, INACTIVE = inputs([980.0, 980.0]), inputs([960.0, 960.0])


def state(model: nn.Module) -> tuple:
    """Everything that TACA could leave behind: attributes, torch hooks, processors."""
    attributes = {name: dict(value) if isinstance(value, dict) else value for name, value in vars(model).items()}
    return attributes, dict(model.attn_processors), model.forward


@pytest.fixture
def model() -> nn.Module:
    with torch.no_grad():
        yield transformer()


class TestConfig:
    def test_defaults_are_the_papers(self):
        assert TacaConfig() == TacaConfig(gamma=1.2, threshold=970.0)

    def test_is_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            CONFIG.gamma = 2.0

    @pytest.mark.parametrize("gamma", [1, 1.2, 1e-3, np.float32(1.2), np.float64(1.2), Fraction(6, 5)])
    @pytest.mark.parametrize("threshold", [0, 970, 1000.0, np.float64(970)])
    def test_real_numbers_are_taken(self, gamma, threshold):
        TacaConfig(gamma, threshold)

    @pytest.mark.parametrize(
        "gamma", [0, -1.2, float("nan"), float("inf"), "1.2", True, None, 1j, [1.2], torch.tensor(1.2)]
    )
    def test_bad_gamma_is_refused_with_its_value(self, gamma):
        with pytest.raises(ValueError, match="`gamma` must be a finite number above 0") as error:
            TacaConfig(gamma=gamma)
        assert repr(gamma) in str(error.value)

    @pytest.mark.parametrize("gamma", [10**400, Fraction(1, 10**400)])
    def test_what_no_float_holds_is_refused(self, gamma):
        with pytest.raises(ValueError, match="`gamma` must be a finite number above 0"):
            TacaConfig(gamma=gamma)

    @pytest.mark.parametrize("threshold", [-0.1, 1000.1, float("nan"), float("inf"), "970", False, None])
    def test_bad_threshold_is_refused_with_its_value(self, threshold):
        with pytest.raises(ValueError, match="`threshold` must be a number from 0 to 1000") as error:
            TacaConfig(threshold=threshold)
        assert repr(threshold) in str(error.value)


class TestActing:
    def test_active_pass_differs_from_stock(self, model):
        stock = predict(model, ACTIVE)
        apply_taca(model, CONFIG)
        assert relative_error(predict(model, ACTIVE), stock) > 1e-5

    def test_inactive_pass_is_bitwise_stock(self, model):
        stock = predict(model, INACTIVE)
        apply_taca(model, CONFIG)
        predict(model, ACTIVE)
        assert torch.equal(predict(model, INACTIVE), stock)

    @pytest.mark.parametrize("gamma", [1, 1.0])
    def test_gamma_one_is_bitwise_stock_at_every_timestep(self, model, gamma):
        for timesteps in ([1000.0, 1000.0], [980.0, 5.0]):
            stock = predict(model, inputs(timesteps))
            with taca(model, TacaConfig(gamma=gamma)):
                assert torch.equal(predict(model, inputs(timesteps)), stock)

    @pytest.mark.parametrize(("timestep", "acts"), [(970.0, True), (970.0625, True), (969.9375, False)])
    def test_threshold_itself_is_active(self, model, timestep, acts):
        arguments = inputs([timestep])
        stock = predict(model, arguments)
        with taca(model, CONFIG):
            assert torch.equal(predict(model, arguments), stock) != acts

    def test_timestep_may_be_passed_by_position(self, model):
        with taca(model, CONFIG):
            by_position = model(*(ACTIVE[name] for name in ACTIVE)).sample
            assert torch.equal(by_position, predict(model, ACTIVE))

    def test_a_subclass_may_pass_its_arguments_on(self, model):
        class Own(SD3Transformer2DModel):
            def forward(self, *args, **kwargs):
                return super().forward(*args, **kwargs)

        apply_taca(model, CONFIG)
        expected = predict(model, ACTIVE)
        remove_taca(model)
        model.__class__ = Own
        apply_taca(model, CONFIG)
        assert torch.equal(predict(model, ACTIVE), expected)

    def test_a_block_that_is_replaced_meanwhile_is_taken(self, model):
        with taca(model, CONFIG):
            predict(model, ACTIVE)
            model.transformer_blocks[1] = copy.deepcopy(model.transformer_blocks[1])
            actual = predict(model, ACTIVE)
        apply_taca(model, CONFIG)
        assert torch.equal(predict(model, ACTIVE), actual)

    def test_one_timestep_may_stand_for_the_whole_batch(self, model):
        with taca(model, CONFIG):
            one = predict(model, {**ACTIVE, "timestep": torch.tensor([980.0])})
            torch.testing.assert_close(one, predict(model, ACTIVE))

    def test_integer_timesteps_are_taken(self, model):
        with taca(model, CONFIG):
            integers = predict(model, {**ACTIVE, "timestep": torch.tensor([980, 980])})
            assert torch.equal(integers, predict(model, ACTIVE))

    def test_gamma_changes_with_the_configuration(self, model):
        outputs = []
        for gamma in (1.1, 1.5):
            with taca(model, TacaConfig(gamma)):
                outputs.append(predict(model, ACTIVE))
        assert not torch.equal(*outputs)

    def test_two_models_do_not_share_anything(self, model):
        other = transformer()
        stock = predict(other, ACTIVE)
        apply_taca(model, CONFIG)
        predict(model, ACTIVE)
        assert torch.equal(predict(other, ACTIVE), stock)

    def test_copy_of_a_model_has_its_own_taca(self, model):
        stock = predict(model, ACTIVE)
        apply_taca(model, CONFIG)
        duplicate = copy.deepcopy(model)
        remove_taca(model)
        assert torch.equal(predict(model, ACTIVE), stock)
        assert not torch.equal(predict(duplicate, ACTIVE), stock)
        remove_taca(duplicate)
        assert torch.equal(predict(duplicate, ACTIVE), stock)


class TestLeavingNothingBehind:
    def test_remove_restores_the_model_exactly(self, model):
        before, stock = state(model), predict(model, ACTIVE)
        apply_taca(model, CONFIG)
        predict(model, ACTIVE)
        remove_taca(model)
        assert state(model) == before
        assert torch.equal(predict(model, ACTIVE), stock)

    def test_context_manager_restores_after_an_error(self, model):
        before = state(model)
        with pytest.raises(KeyError), taca(model, CONFIG):
            raise KeyError
        assert state(model) == before

    def test_context_manager_takes_away_its_own_alone(self, model):
        """Removed inside already, it hides no error of the block; what was applied inside anew stays."""

        def removed_and_failing():
            with taca(model, CONFIG):
                remove_taca(model)
                raise KeyError

        with pytest.raises(KeyError):
            removed_and_failing()
        with taca(model, CONFIG):
            remove_taca(model)
            apply_taca(model, CONFIG)
        assert is_applied(model)
        remove_taca(model)

    def test_nothing_is_in_place_between_passes(self, model):
        processors = dict(model.attn_processors)
        apply_taca(model, CONFIG)
        predict(model, ACTIVE)
        assert model.attn_processors == processors

    def test_pass_that_fails_leaves_stock_processors(self, model):
        processors, stock = dict(model.attn_processors), predict(model, ACTIVE)
        apply_taca(model, CONFIG)
        with pytest.raises(RuntimeError):
            predict(model, {**ACTIVE, "encoder_hidden_states": torch.zeros(2, 5, 3)})
        assert model.attn_processors == processors
        remove_taca(model)
        assert torch.equal(predict(model, ACTIVE), stock)

    def test_interrupted_pass_is_undone_by_the_next_and_by_removal(self, model):
        stock, stock_inactive = predict(model, ACTIVE), predict(model, INACTIVE)

        def interrupt(*_):
            raise KeyboardInterrupt

        def interrupted_pass():
            handle = model.transformer_blocks[1].register_forward_pre_hook(interrupt)
            with pytest.raises(KeyboardInterrupt):
                predict(model, ACTIVE)
            handle.remove()

        apply_taca(model, CONFIG)
        interrupted_pass()
        assert torch.equal(predict(model, INACTIVE), stock_inactive)
        interrupted_pass()
        remove_taca(model)
        assert torch.equal(predict(model, ACTIVE), stock)

    def test_other_hooks_stay(self, model):
        seen = []
        apply_taca(model, CONFIG)
        model.register_forward_pre_hook(lambda *_: seen.append("torch hook"))
        model.forward = partial(model.forward)
        wrapped = model.forward
        remove_taca(model)
        predict(model, ACTIVE)
        assert seen == ["torch hook"]
        assert model.forward is wrapped


def broken(kind: str) -> tuple[nn.Module, str]:
    """A transformer that TACA must refuse, and what the error says."""
    if kind == "unknown class":
        from diffusers import PixArtTransformer2DModel

        return (
            PixArtTransformer2DModel(
                num_layers=1, num_attention_heads=1, attention_head_dim=8, norm_num_groups=4, sample_size=8
            ),
            "PixArtTransformer2DModel reads the prompt by cross-attention",
        )
    if kind == "no blocks":
        return transformer(num_layers=0), "no joint attention"
    model = transformer()
    if kind == "one foreign processor":

        class Mine(JointAttnProcessor2_0):
            pass

        model.transformer_blocks[1].attn.set_processor(Mine())
        return model, "does not support Mine"
    apply_taca(model, CONFIG)
    return model, "already applied.*remove_taca"


class TestRefusals:
    @pytest.mark.parametrize("kind", ["unknown class", "no blocks", "one foreign processor", "applied twice"])
    def test_refusal_is_one_sentence_and_leaves_the_model_as_it_was(self, kind):
        model, message = broken(kind)
        before = state(model)
        with pytest.raises(ValueError, match=message) as error:
            apply_taca(model, CONFIG)
        assert str(error.value).endswith(".")
        assert "\n" not in str(error.value)
        assert state(model) == before

    def test_refused_second_application_leaves_the_first_acting(self, model):
        apply_taca(model, CONFIG)
        expected = predict(model, ACTIVE)
        with pytest.raises(ValueError, match="already applied"), taca(model, TacaConfig(2.0)):
            pass
        assert torch.equal(predict(model, ACTIVE), expected)

    def test_pipeline_without_a_transformer_is_refused(self):
        from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

        unet = UNet2DModel(
            8,
            block_out_channels=(8,),
            norm_num_groups=4,
            down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",),
        )
        with pytest.raises(ValueError, match="DDPMPipeline has no transformer"):
            apply_taca(DDPMPipeline(unet, DDPMScheduler()), CONFIG)

    def test_object_that_is_no_model_is_refused(self):
        with pytest.raises(ValueError, match="does not know dict"):
            apply_taca({}, CONFIG)

    def test_remove_without_apply_is_refused(self, model):
        before = state(model)
        with pytest.raises(ValueError, match=r"not applied.*apply_taca"):
            remove_taca(model)
        assert state(model) == before

    def test_pass_without_timestep_is_refused(self, model):
        apply_taca(model, CONFIG)
        with pytest.raises(ValueError, match="decides by `timestep`"):
            model(ACTIVE["hidden_states"], ACTIVE["encoder_hidden_states"], ACTIVE["pooled_projections"])

    def test_failure_half_way_leaves_the_model_as_it_was(self, model, monkeypatch):
        """The second of the two hooks cannot be registered."""

        def fail(*_, **__):
            raise MemoryError

        before = state(model)
        monkeypatch.setattr(type(model), "register_forward_hook", fail)
        with pytest.raises(MemoryError):
            apply_taca(model, CONFIG)
        monkeypatch.undo()
        assert state(model) == before

    @torch.no_grad()
    def test_processors_replaced_after_application_stop_the_next_active_pass(self):
        """Silently computing without them, or without TACA, would be worse."""

        class Mine(JointAttnProcessor2_0):
            pass

        model = transformer()
        apply_taca(model, CONFIG)
        model.transformer_blocks[1].attn.set_processor(Mine())
        predict(model, INACTIVE)
        with pytest.raises(ValueError, match="does not support Mine"):
            predict(model, ACTIVE)


class TestPipeline:
    def test_only_the_first_steps_are_changed(self, model):
        """Every step of a TACA run, repeated by the stock model on the same inputs: steps 1 to 3 of 30 differ."""
        pipe, steps = pipeline(model), []
        handle = model.register_forward_hook(
            lambda _, __, kwargs, output: steps.append((copy.copy(kwargs), output[0])), with_kwargs=True
        )
        with taca(pipe.transformer, CONFIG):
            draw(pipe, steps=30)
        handle.remove()
        changed = [not torch.equal(model(**kwargs)[0], output) for kwargs, output in steps]
        assert changed == [True] * 3 + [False] * 27

    def test_image_changes_under_taca_and_only_there(self, model):
        pipe = pipeline(model)
        stock = draw(pipe, steps=6)
        with taca(pipe.transformer, CONFIG):
            first, second = draw(pipe, steps=6), draw(pipe, steps=6)
        assert not torch.equal(first, stock)
        assert torch.equal(first, second)
        assert torch.equal(draw(pipe, steps=6), stock)

    @pytest.mark.parametrize("offload_first", [True, False])
    def test_model_offload_does_not_lose_taca_after_the_first_image(self, model, offload_first):
        """The pipeline rebuilds its offloading hooks, and with them `forward`, after each image."""
        pipe = pipeline(model)
        stock = draw(pipe, steps=3)
        if offload_first:
            pipe.enable_model_cpu_offload(device="cpu")
        with taca(pipe.transformer, CONFIG):
            if not offload_first:
                pipe.enable_model_cpu_offload(device="cpu")
            first, second = draw(pipe, steps=3), draw(pipe, steps=3)
        assert not torch.equal(first, stock)
        assert torch.equal(first, second)
        assert torch.equal(draw(pipe, steps=3), stock)
