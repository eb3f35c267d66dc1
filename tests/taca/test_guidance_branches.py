"""`TacaConfig(branches="conditional")`: gamma on the conditional branch of classifier-free guidance alone."""

from contextlib import contextmanager

import pytest
import tiny_pipelines
import torch
from diffusers import (
    AutoencoderKL,
    CogVideoXDDIMScheduler,
    CogVideoXVideoToVideoPipeline,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Flux2Pipeline,
    FluxImg2ImgPipeline,
    FluxKontextPipeline,
    StableDiffusion3Pipeline,
    ZImagePipeline,
)
from tiny_families import CASES as FAMILIES
from tiny_models import CASES, predict
from tiny_sd3 import draw, pipeline, transformer

from taca import TacaConfig, apply_taca, taca

# At all steps, so that each tells something.
CONDITIONAL = TacaConfig(gamma=2.0, threshold=0.0, branches="conditional")
NEGATIVE_FIRST = [False, True]


@contextmanager
def scaled(pipe, config: TacaConfig = CONDITIONAL):
    """Yields a list that on exit has, for each pass made inside, which samples differ from the stock model's."""
    model, passes, told = pipe.transformer, [], []
    handle = model.register_forward_hook(
        lambda _, args, kwargs, output: passes.append((dict(kwargs), output[0].clone())), with_kwargs=True
    )
    with taca(pipe, config):
        yield told
    handle.remove()
    with torch.no_grad():
        for kwargs, output in passes:
            stock = model(**kwargs)[0]
            told.append([not torch.allclose(a, b, atol=1e-6) for a, b in zip(output, stock, strict=True)])


def test_what_is_scaled_is_scaled_as_both_branches_are():
    """The conditional half of a guided SD3 image has what TACA on both branches gives it."""
    pipe, passes = pipeline(transformer()), []
    pipe.transformer.register_forward_hook(
        lambda _, args, kwargs, output: passes.append((kwargs, output[0].clone())), with_kwargs=True
    )
    with taca(pipe, CONDITIONAL):
        draw(pipe, steps=3)
    for kwargs, output in passes[:3]:
        with taca(pipe.transformer, TacaConfig(gamma=2.0, threshold=0.0)):
            torch.testing.assert_close(output[1:], pipe.transformer(**kwargs)[0][1:])


class TestOneBatch:
    """SD3 and CogVideoX: the unconditional half is the stock model's, whatever the pipeline's attributes say."""

    def test_of_both_branches(self):
        pipe = pipeline(transformer())
        with scaled(pipe) as told:
            draw(pipe, steps=6)
        assert told == [NEGATIVE_FIRST] * 6

    @pytest.mark.parametrize("dynamic", [True, False])
    def test_dynamic_guidance(self, dynamic):
        """CogVideoX changes its scale at every step, also to 1, and goes on with both branches."""
        pipe = tiny_pipelines.cogvideox()
        with scaled(pipe) as told:
            tiny_pipelines.draw_video(pipe, steps=20, use_dynamic_cfg=dynamic)
        assert told == [NEGATIVE_FIRST] * 20

    def test_dynamic_guidance_of_video_from_video(self):
        pipe = tiny_pipelines.cogvideox()
        pipe = tiny_pipelines.pipeline(CogVideoXVideoToVideoPipeline, pipe.transformer, CogVideoXDDIMScheduler())
        start = torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(3))
        with scaled(pipe) as told:
            pipe(
                prompt_embeds=torch.randn(1, 6, 12),
                negative_prompt_embeds=torch.randn(1, 6, 12),
                latents=start,
                height=32,
                width=32,
                num_inference_steps=20,
                strength=1.0,
                use_dynamic_cfg=True,
                output_type="latent",
            )
        assert told == [NEGATIVE_FIRST] * 20

    @pytest.mark.parametrize("scale", [1.0, 0.0])
    def test_guidance_that_a_callback_ends(self, scale):
        """As diffusers' documentation has it: from then on the batch is the prompt's alone."""

        def end_guidance(pipe, step, timestep, inputs):
            if step == 2:
                pipe._guidance_scale = scale
                inputs = {name: value.chunk(2)[-1] for name, value in inputs.items()}
            return inputs

        pipe, names = pipeline(transformer()), ["prompt_embeds", "pooled_prompt_embeds"]
        with scaled(pipe) as told:
            draw(pipe, 6, callback_on_step_end=end_guidance, callback_on_step_end_tensor_inputs=names)
        assert told == [NEGATIVE_FIRST] * 3 + [[True]] * 3

    def test_video_guidance_that_a_callback_changes(self):
        """The scale of CogVideoX is an attribute, whether it guides is not."""

        def weaken(pipe, step, timestep, inputs):
            pipe._guidance_scale = 0.5
            return {}

        pipe = tiny_pipelines.cogvideox()
        with scaled(pipe) as told:
            tiny_pipelines.draw_video(pipe, callback_on_step_end=weaken)
        assert told == [NEGATIVE_FIRST] * 6

    @pytest.mark.parametrize(("first", "second"), [(5.0, 1.0), (1.0, 5.0)])
    def test_a_second_pipeline_around_the_same_transformer(self, first, second):
        """TACA was given the first, which has drawn with another guidance."""
        pipe = pipeline(transformer())
        other = StableDiffusion3Pipeline(**pipe.components)
        with scaled(pipe) as told:
            draw(pipe, 2, guidance_scale=first)
            draw(other, 2, guidance_scale=second)
        branches = {5.0: NEGATIVE_FIRST, 1.0: [True]}
        assert told == [branches[first]] * 2 + [branches[second]] * 2

    def test_a_call_inside_a_callback(self):
        """A preview without guidance after each step of a guided image, by the same pipeline."""

        def preview(pipe, step, timestep, inputs):
            scale = pipe._guidance_scale
            draw(StableDiffusion3Pipeline(**pipe.components), 1, guidance_scale=1.0)
            pipe.scheduler.set_timesteps(3)
            pipe._guidance_scale = scale
            return {}

        pipe = pipeline(transformer())
        with scaled(pipe) as told:
            draw(pipe, 3, callback_on_step_end=preview)
        assert told[:4] == [NEGATIVE_FIRST, [True], NEGATIVE_FIRST, [True]]

    def test_two_prompts_from_one_seed_without_guidance(self):
        """Their first pass has two equal halves too."""
        pipe = pipeline(transformer())
        with scaled(pipe) as told:
            pipe(
                prompt_embeds=torch.randn(2, 5, 12),
                pooled_prompt_embeds=torch.randn(2, 10),
                latents=torch.randn(1, 4, 8, 8).expand(2, -1, -1, -1),
                guidance_scale=1.0,
                num_inference_steps=2,
                height=8,
                width=8,
                output_type="latent",
            )
        assert told == [[True, True]] * 2

    def test_skip_layer_guidance_makes_a_further_call(self):
        pipe = pipeline(transformer())
        options = {"skip_guidance_layers": [1], "skip_layer_guidance_start": 0.0, "skip_layer_guidance_stop": 1.0}
        with scaled(pipe) as told:
            draw(pipe, 4, **options)
        assert told == [NEGATIVE_FIRST] + [NEGATIVE_FIRST, [True]] * 3

    @pytest.mark.long
    def test_a_compiled_transformer(self):
        pipe = pipeline(transformer(num_layers=1))
        with taca(pipe, CONDITIONAL):
            expected = draw(pipe, 3)
        pipe.transformer = torch.compile(pipe.transformer, backend="eager")
        with taca(pipe, CONDITIONAL):
            torch.testing.assert_close(draw(pipe, 3), expected, rtol=1e-4, atol=1e-5)


class OneAfterTheOther(StableDiffusion3Pipeline):
    """A loop with guidance in two calls, as people write it to save memory."""

    @torch.no_grad()
    def __call__(self, latents, prompt_embeds, negative_prompt_embeds, pooled):
        timestep = torch.tensor([980.0])
        for text in (negative_prompt_embeds, prompt_embeds):
            self.transformer(
                hidden_states=latents,
                encoder_hidden_states=text,
                pooled_projections=pooled,
                timestep=timestep,
                return_dict=False,
            )


class TestTwoCalls:
    """The unconditional one is the stock model's, whether the pipeline names its calls or not."""

    @pytest.mark.parametrize(
        ("build", "guided"),
        [
            (tiny_pipelines.flux, [[True], [False]]),
            (tiny_pipelines.qwenimage, [[True], [False]]),
            (lambda: tiny_pipelines.flux(FluxKontextPipeline), [[True], [False]]),
        ],
        ids=["flux", "qwenimage", "kontext, which names none"],
    )
    def test_of_a_guided_image(self, build, guided):
        pipe = build()
        stock = tiny_pipelines.draw(pipe)
        with scaled(pipe) as told:
            assert not torch.equal(tiny_pipelines.draw(pipe), stock)
        assert told == guided * 6
        assert "cache_context" not in vars(pipe.transformer)
        assert torch.equal(tiny_pipelines.draw(pipe), stock)

    @pytest.mark.parametrize("kind", [None, FluxKontextPipeline])
    def test_without_guidance_the_only_one_is_scaled(self, kind):
        pipe = tiny_pipelines.flux() if kind is None else tiny_pipelines.flux(kind)
        with scaled(pipe) as told:
            tiny_pipelines.draw(pipe, guidance=1.0)
        assert told == [[True]] * 6

    def test_of_a_second_pipeline_that_names_none(self):
        """FLUX.1's editing pipeline, around the transformer of a pipeline that has drawn with names."""
        pipe = tiny_pipelines.flux()
        other = tiny_pipelines.pipeline(FluxKontextPipeline, pipe.transformer)
        with scaled(pipe) as told:
            tiny_pipelines.draw(pipe, 2)
            tiny_pipelines.draw(other, 2)
        assert told == [[True], [False]] * 4

    def test_of_a_family_whose_own_pipelines_make_one(self):
        """Told by the text that they pass."""
        components = pipeline(transformer()).components
        pipe = OneAfterTheOther(**components)
        texts = torch.randn(2, 1, 5, 12)
        with scaled(pipe) as told:
            pipe(torch.randn(1, 4, 8, 8), *texts, pooled=torch.randn(1, 10))
        assert told == [[False], [True]]

    @pytest.mark.parametrize(("name", "conditional"), [("pred_cond", True), ("pred_uncond", False)])
    def test_of_a_guider(self, name, conditional):
        """diffusers' guiders name the calls of their loops after what they predict."""
        pipe, case = tiny_pipelines.qwenimage(), next(case for case in CASES if case.name == "qwenimage")
        with torch.no_grad(), scaled(pipe) as told, pipe.transformer.cache_context(name):
            predict(pipe.transformer, case.inputs([980.0]))
        assert told == [[conditional]]


class TestOneBranch:
    """Of pipelines that know no guidance, or draw without it, the only branch is the conditional one."""

    def test_flux2(self):
        pipe = tiny_pipelines.pipeline(Flux2Pipeline, next(case for case in CASES if case.name == "flux2").model())
        with scaled(pipe) as told:
            pipe(
                prompt_embeds=torch.randn(1, 6, 12),
                height=32,
                width=32,
                num_inference_steps=3,
                output_type="latent",
            )
        assert told == [[True]] * 3

    def test_image_to_image_of_flux(self):
        pipe = tiny_pipelines.flux(FluxImg2ImgPipeline)
        kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        sizes = {"block_out_channels": (4,) * 4, "norm_num_groups": 2, "latent_channels": 4, "shift_factor": 0.0}
        pipe.register_modules(vae=AutoencoderKL(**kinds, **sizes).eval())
        with scaled(pipe) as told:
            pipe(
                image=torch.rand(1, 3, 64, 64),
                prompt_embeds=torch.randn(1, 6, 12),
                pooled_prompt_embeds=torch.randn(1, 10),
                height=64,
                width=64,
                strength=1.0,
                num_inference_steps=3,
                output_type="latent",
            )
        assert told == [[True]] * 3


@torch.no_grad()
def test_a_list_of_embeddings_tells_sample_by_sample():
    """Z-Image has the conditional branch first, each sample with an embedding of its own."""
    family = next(case for case in FAMILIES if case.transformer == "ZImageTransformer2DModel")
    pipe = tiny_pipelines.pipeline(ZImagePipeline, family.model(), FlowMatchEulerDiscreteScheduler())
    texts, noted = torch.randn(4, 5, 12).unbind(), []
    with taca(pipe, CONDITIONAL):
        branches = pipe.transformer._taca_hook.branches
        conditional = branches.conditional
        branches.conditional = lambda *args: (noted.append(conditional(*args)), noted[-1])[1]
        for negative, scale in ((list(texts[2:]), 3.0), (None, 0.0)):
            pipe(
                prompt_embeds=list(texts[:2]),
                negative_prompt_embeds=negative,
                guidance_scale=scale,
                height=64,
                width=64,
                num_inference_steps=2,
                output_type="latent",
            )
    assert noted == [[True, True, False, False]] * 2 + [[True, True]] * 2


@torch.no_grad()
def test_no_value_is_read_to_tell_them():
    """A pipeline's pass runs on the meta device, which has none: on a GPU the host does not wait."""

    class Loop(DiffusionPipeline):
        def __init__(self, transformer):
            super().__init__()
            self.register_modules(transformer=transformer)

        def __call__(self, latents, arguments):
            return predict(self.transformer, {**arguments, "hidden_states": torch.cat([latents] * 2)})

    case = CASES[0]
    pipe = Loop(case.model().to("meta"))
    arguments = {name: value.to("meta") for name, value in case.inputs([980.0, 980.0]).items()}
    with taca(pipe, CONDITIONAL):
        assert pipe(torch.empty(1, 4, 8, 8, device="meta"), arguments).device.type == "meta"


@pytest.mark.parametrize("name", ["qwenimage", "sd3.5"])
@torch.no_grad()
def test_a_pass_of_nobodys_pipeline_is_refused(name):
    """Its two halves may be anything. A pipeline that has drawn before does not answer for it."""
    case = next(case for case in CASES if case.name == name)
    pipe = tiny_pipelines.qwenimage() if name == "qwenimage" else pipeline(transformer())
    with taca(pipe, CONDITIONAL):
        (tiny_pipelines.draw if name == "qwenimage" else draw)(pipe, 1)
        with pytest.raises(ValueError, match="does not say which branch"):
            predict(pipe.transformer, case.inputs([980.0, 980.0]))
    with taca(pipe, gamma=2.0, branches="conditional"):  # nothing hangs on it below the threshold
        predict(pipe.transformer, case.inputs([500.0, 500.0]))


def test_a_transformer_alone_is_refused():
    with pytest.raises(ValueError, match="pass the pipeline"):
        apply_taca(transformer(), CONDITIONAL)


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="`branches` must be both or conditional, got 'all'"):
        TacaConfig(branches="all")
