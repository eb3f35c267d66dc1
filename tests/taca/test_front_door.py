"""What a caller meets first: a pipeline and a gamma, configurations as plain values, and what TACA says of itself."""

import copy
import gc
import json
import logging
import pickle
import sys
import threading

import diffusers
import pytest
import tiny_pipelines
import torch
from diffusers import (
    ChromaPipeline,
    FlowMatchEulerDiscreteScheduler,
    Flux2Pipeline,
    HunyuanVideoPipeline,
    OvisImagePipeline,
    ZImagePipeline,
)
from safetensors.torch import save_file
from tiny_families import CASES as FAMILIES
from tiny_models import CASES
from tiny_sd3 import draw, inputs, pipeline, predict, transformer

from taca import TacaConfig, active_steps, apply_taca, is_applied, remove_taca, taca

ACTIVE, INACTIVE = inputs([980.0]), inputs([500.0])


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


class TestArguments:
    def test_fields_are_taken_as_a_configuration_is(self):
        pipe = pipeline(transformer())
        with taca(pipe, TacaConfig(gamma=2.0, threshold=500.0)):
            expected = draw(pipe, 4)
        with taca(pipe, gamma=2.0, threshold=500.0):
            assert torch.equal(draw(pipe, 4), expected)
        apply_taca(pipe, gamma=2.0, threshold=500.0)
        assert torch.equal(draw(pipe, 4), expected)

    def test_without_any_the_papers_values_are_taken(self):
        model = transformer()
        with taca(model, TacaConfig()):
            expected = predict(model, ACTIVE)
        with taca(model):
            assert torch.equal(predict(model, ACTIVE), expected)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"config": 1.2}, r"`config` must be a TacaConfig, got float"),
            ({"config": {"gamma": 1.2}}, r"`config` must be a TacaConfig, got dict"),
            ({"config": TacaConfig(), "gamma": 1.2}, r"`config` and `gamma` were both passed"),
            ({"gama": 1.2}, r"TacaConfig has no field 'gama': it has gamma, threshold, adapter, branches"),
            ({"gamma": -1.0}, r"`gamma` must be a finite number above 0"),
        ],
    )
    def test_others_are_refused(self, arguments, message):
        model = transformer()
        for call in (lambda: apply_taca(model, **arguments), lambda: taca(model, **arguments).__enter__()):
            with pytest.raises(ValueError, match=message):
                call()
        assert not is_applied(model)

    @pytest.mark.parametrize("wrap", [lambda model: model, lambda model: torch.compile(model, backend="eager")])
    def test_is_applied_says_so(self, wrap):
        pipe = pipeline(transformer())
        pipe.transformer = wrap(pipe.transformer)
        assert not is_applied(pipe)
        apply_taca(pipe)
        assert is_applied(pipe)
        assert is_applied(pipe.transformer)
        remove_taca(pipe)
        assert not is_applied(pipe)


class TestPlainValues:
    def test_a_configuration_survives_json(self):
        config = TacaConfig(gamma=1.1, threshold=900.0, adapter="mine", branches="conditional")
        assert TacaConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
        assert TacaConfig.from_dict({}) == TacaConfig()

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"gammma": 1.2}, "no field 'gammma'"),
            ([1.2], "from a dict of its fields, got list"),
            (None, "got NoneType"),
        ],
    )
    def test_others_are_refused(self, values, message):
        with pytest.raises(ValueError, match=message):
            TacaConfig.from_dict(values)


class TestFromAdapter:
    @staticmethod
    def file(folder, metadata, name="pytorch_lora_weights.safetensors"):
        save_file({"x": torch.zeros(1)}, folder / name, metadata=metadata)
        return folder

    def test_the_header_says_when_it_is_used(self, tmp_path):
        folder = self.file(tmp_path, {"taca.gamma": "1.1", "taca.threshold": "950.0"})
        expected = TacaConfig(gamma=1.1, threshold=950.0, adapter="mine")
        assert TacaConfig.from_adapter(folder, adapter="mine") == expected
        path = str(folder / "pytorch_lora_weights.safetensors")
        assert TacaConfig.from_adapter(path, adapter="mine") == expected

    def test_another_file_is_named(self, tmp_path):
        folder = self.file(tmp_path, {"taca.gamma": "1.1", "taca.threshold": "950.0"}, "mine.safetensors")
        assert TacaConfig.from_adapter(folder, adapter="mine", weight_name="mine.safetensors").gamma == 1.1

    def test_no_weight_is_read(self, tmp_path):
        path = self.file(tmp_path, {"taca.gamma": "1.1", "taca.threshold": "950"}) / "pytorch_lora_weights.safetensors"
        path.write_bytes(path.read_bytes()[:-4])
        assert TacaConfig.from_adapter(path, adapter="mine").threshold == 950

    @pytest.mark.parametrize("metadata", [None, {"taca.gamma": "1.1"}, {"taca.gamma": "x", "taca.threshold": "1"}])
    def test_a_file_that_does_not_say_is_refused_with_the_values_to_pass(self, tmp_path, metadata):
        folder = self.file(tmp_path, metadata)
        with pytest.raises(ValueError, match=r"does not say which gamma.*TacaConfig\(gamma=1.2, threshold=970.0"):
            TacaConfig.from_adapter(folder, adapter="mine")

    @pytest.mark.parametrize("metadata", ["null", "[1]", '"x"', '{"taca.gamma": [1], "taca.threshold": null}'])
    def test_nor_does_one_with_something_else_there(self, tmp_path, metadata):
        header = f'{{"__metadata__": {metadata}}}'.encode()
        (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(ValueError, match="does not say which gamma"):
            TacaConfig.from_adapter(tmp_path, adapter="mine")

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"abc",
            b"\xff" * 16,
            b"\x02\0\0\0\0\0\0\0[]",
            b"\x09\0\0\0\0\0\0\0{}",
            b"\x50\xc3\0\0\0\0\0\0" + b"[" * 50_000,
        ],
        ids=["empty", "short", "endless", "a list", "cut off", "deep"],
    )
    def test_a_broken_file_is_refused(self, tmp_path, content):
        (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match="not a readable safetensors file"):
            TacaConfig.from_adapter(tmp_path, adapter="mine")

    def test_an_absent_file_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"not a readable safetensors file.*`weight_name`"):
            TacaConfig.from_adapter(tmp_path, adapter="mine")
        for name in ("nobody/nothing", "x" * 300):
            with pytest.raises(ValueError, match="cannot be read"):
                TacaConfig.from_adapter(name, adapter="mine", local_files_only=True)


def test_an_adapter_without_peft_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft.tuners.tuners_utils", None)
    with pytest.raises(ValueError, match="`adapter` is 'mine', and peft is not installed"):
        apply_taca(transformer(), adapter="mine")


class TestCopies:
    @pytest.mark.parametrize("store", [pickle.dumps, lambda model: torch.save(model, "/dev/null")])
    def test_pickling_is_refused_in_one_sentence(self, store):
        model = transformer()
        apply_taca(model)
        with pytest.raises(ValueError, match=r"cannot be pickled: call `remove_taca` first, or save its `state_dict"):
            store(model)
        remove_taca(model)
        store(model)

    @pytest.mark.parametrize("branches", ["both", "conditional"])
    def test_a_copy_of_a_pipelines_transformer_has_its_own(self, branches):
        pipe = pipeline(transformer())
        stock = predict(pipe.transformer, ACTIVE)
        apply_taca(pipe, gamma=2.0, branches=branches)
        duplicate = copy.deepcopy(pipe.transformer)
        remove_taca(pipe)
        assert torch.equal(predict(pipe.transformer, ACTIVE), stock)
        assert is_applied(duplicate)
        remove_taca(duplicate)
        assert torch.equal(predict(duplicate, ACTIVE), stock)

    @pytest.mark.parametrize("make", [copy.deepcopy, lambda pipe: type(pipe)(**pipe.components)], ids=["copy", "other"])
    def test_a_copy_of_a_pipeline_asks_its_own_scheduler(self, make):
        """And another pipeline around the same parts that scheduler which they share, when the first is gone."""
        pipe = tiny_pipelines.cogvideox()
        apply_taca(pipe)
        other = make(pipe)
        hook = other.transformer._taca_hook
        assert hook._scheduler() is other.scheduler
        assert (hook.pipeline() is other) == (make is copy.deepcopy)
        scheduler = other.scheduler
        del pipe
        gc.collect()
        assert hook._scheduler() is scheduler


@pytest.mark.parametrize("scheduler", ["euler", FlowMatchEulerDiscreteScheduler, {"timesteps": [1000.0]}])
def test_what_is_no_scheduler_is_refused_before_a_pass(scheduler):
    model = transformer()
    with pytest.raises(ValueError, match="`scheduler` must be a scheduler of diffusers, such as"):
        apply_taca(model, scheduler=scheduler)
    assert not is_applied(model)


class TestThreads:
    def test_a_second_thread_in_the_same_transformer_is_refused_and_the_first_goes_on(self):
        """Processors are changed for each pass, so that one thread would compute with the other's."""
        model, refusals = transformer(), []
        with taca(model, gamma=2.0):
            expected = predict(model, ACTIVE)

            def second():
                with pytest.raises(ValueError, match="Another thread is in a forward pass of this SD3Tr") as refusal:
                    predict(model, ACTIVE)
                refusals.append(refusal)

            def meanwhile(*_):
                thread = threading.Thread(target=second)
                thread.start()
                thread.join()

            handle = model.transformer_blocks[0].register_forward_pre_hook(meanwhile)
            assert torch.equal(predict(model, ACTIVE), expected)
            handle.remove()
            assert len(refusals) == 1
            assert torch.equal(predict(model, ACTIVE), expected)


class TestWarning:
    @staticmethod
    def passes(caplog, timesteps, config=None):
        model = transformer(num_layers=1)
        with caplog.at_level(logging.WARNING, "taca"), taca(model, config):
            for t in timesteps:
                predict(model, inputs([t]))
        return [record.getMessage() for record in caplog.records if record.name == "taca"]

    def test_a_series_that_begins_below_the_threshold_is_told_once(self, caplog):
        (message,) = self.passes(caplog, [900.0, 850.0, 910.0, 300.0])
        assert "first timestep is 900.0, below the threshold of 970.0" in message
        assert "active_steps" in message

    @pytest.mark.parametrize(
        "timesteps", [[1000.0, 960.0, 900.0], [1000.0, 1000.0, 960.0, 960.0], [980.0, 5.0, 980.0, 5.0]]
    )
    def test_one_that_begins_above_is_none(self, caplog, timesteps):
        """Nor two passes of one step, as guidance makes them."""
        assert self.passes(caplog, timesteps) == []

    def test_a_later_series_is_told(self, caplog):
        assert len(self.passes(caplog, [990.0, 500.0, 600.0])) == 1

    def test_training_is_not(self, caplog):
        with torch.enable_grad():
            assert self.passes(caplog, [300.0, 500.0]) == []

    def test_threshold_zero_is_not(self, caplog):
        assert self.passes(caplog, [300.0], TacaConfig(threshold=0.0)) == []


def acted(pipe, draw_it, config) -> list[tuple[int, float]]:
    """Steps whose pass differs from the stock model's, with the scheduler's own timesteps."""
    passes = []
    handle = pipe.transformer.register_forward_hook(
        lambda _, args, kwargs, output: passes.append((dict(kwargs), output[0].clone())), with_kwargs=True
    )
    with taca(pipe, config):
        draw_it(pipe)
    handle.remove()
    changed = [not torch.equal(pipe.transformer(**kwargs)[0], output) for kwargs, output in passes]
    return [
        (step, t) for step, (t, yes) in enumerate(zip(pipe.scheduler.timesteps.tolist(), changed, strict=True)) if yes
    ]


PIPELINES = {
    "sd3": (lambda: pipeline(transformer()), lambda pipe: draw(pipe, 7, guidance_scale=1.0), (8, 8)),
    "flux": (tiny_pipelines.flux, lambda pipe: tiny_pipelines.draw(pipe, 7, guidance=1.0), (64, 64)),
    "qwenimage": (tiny_pipelines.qwenimage, lambda pipe: tiny_pipelines.draw(pipe, 7, guidance=1.0), (64, 64)),
    "cogvideox": (tiny_pipelines.cogvideox, lambda pipe: tiny_pipelines.draw_video(pipe, 7, guidance=1.0), (32, 32)),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_active_steps_are_those_that_act(name):
    build, draw_it, size = PIPELINES[name]
    pipe, config = build(), TacaConfig(gamma=2.0, threshold=800.0)
    told = active_steps(pipe, 7, *size, config)
    assert 0 < len(told) < 7
    assert told == acted(pipe, draw_it, config)
    assert active_steps(pipe, 7, *size, threshold=0.0)[: len(told)] == told
    with taca(pipe, config):
        assert active_steps(pipe, 7, *size) == told


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ZImagePipeline, {"guidance_scale": 0.0}),
        (ChromaPipeline, {"guidance_scale": 1.0, "prompt_attention_mask": torch.ones(1, 5, dtype=torch.bool)}),
        (OvisImagePipeline, {"guidance_scale": 1.0}),
    ],
)
def test_active_steps_are_the_schedule_that_a_pipeline_then_has(kind, options):
    name = kind.__name__.replace("Pipeline", "")
    family = next(case for case in FAMILIES if case.transformer.startswith(f"{name}Transformer"))
    config = {key: 16 if key in ("in_channels", "out_channels") else value for key, value in family.config.items()}
    model = family.model() if kind is ZImagePipeline else getattr(diffusers, family.transformer)(**config).eval()
    pipe = tiny_pipelines.pipeline(kind, model)
    told = active_steps(pipe, 6, 64, 96, threshold=600.0)
    text = torch.randn(1, 5, 12)
    pipe(
        prompt_embeds=list(text) if kind is ZImagePipeline else text,
        num_inference_steps=6,
        height=64,
        width=96,
        output_type="latent",
        **options,
    )
    timesteps = pipe.scheduler.timesteps.tolist()
    assert told == [(step, t) for step, t in enumerate(timesteps) if t >= 600.0]
    assert 0 < len(told) < 6


def test_active_steps_of_flux2_and_hunyuan_video_are_the_schedule_that_they_then_have():
    flux2, video = (next(case for case in CASES if case.name == name).model() for name in ("flux2", "hunyuanvideo"))
    calls = [
        (Flux2Pipeline, flux2, {}),
        (
            HunyuanVideoPipeline,
            video,
            {
                "pooled_prompt_embeds": torch.randn(1, video.config.pooled_projection_dim),
                "prompt_attention_mask": torch.ones(1, 5, dtype=torch.bool),
                "num_frames": 5,
            },
        ),
    ]
    for kind, model, options in calls:
        pipe = tiny_pipelines.pipeline(kind, model, FlowMatchEulerDiscreteScheduler(shift=7.0))
        width = model.config.get("joint_attention_dim") or model.config.text_embed_dim
        told = active_steps(pipe, 6, 64, 64, threshold=600.0)
        text = torch.randn(1, 5, width)
        pipe(prompt_embeds=text, num_inference_steps=6, height=64, width=64, output_type="latent", **options)
        timesteps = pipe.scheduler.timesteps.tolist()
        assert told == [(step, t) for step, t in enumerate(timesteps) if t >= 600.0]
        assert 0 < len(told) < 6


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0, 64, 64), "num_inference_steps"),
        ((28.0, 64, 64), "num_inference_steps"),
        ((28, "64", 64), "height"),
        ((28, 64, None), "width"),
        ((True, 64, 64), "num_inference_steps"),
        ((28, -64, 64), "height"),
    ],
)
def test_what_is_no_number_of_steps_and_no_size_is_refused(arguments, named):
    with pytest.raises(ValueError, match=f"`{named}` must be a whole number above 0, got"):
        active_steps(tiny_pipelines.flux(), *arguments)


def test_active_steps_of_a_pipeline_that_draws_from_an_image_are_refused():
    from diffusers import FluxKontextPipeline

    with pytest.raises(ValueError, match="schedule of FluxKontextPipeline is not known"):
        active_steps(tiny_pipelines.flux(FluxKontextPipeline), 7, 64, 64)


@pytest.mark.long
def test_a_transformer_compiled_with_a_full_graph_is_taken():
    bare = transformer(num_layers=1)
    with taca(bare, gamma=2.0):
        expected = predict(bare, ACTIVE)
    model = torch.compile(transformer(num_layers=1), backend="eager", fullgraph=True)
    with taca(model, gamma=2.0):
        torch.testing.assert_close(predict(model, ACTIVE), expected)
        torch.testing.assert_close(predict(model, INACTIVE), predict(bare, INACTIVE))
