"""TACA under modular pipelines of diffusers: the branch of a pass is that which the guider computes from it."""

import pytest
import tiny_sd3
import torch
from diffusers import (
    ClassifierFreeGuidance,
    FlowMatchEulerDiscreteScheduler,
    LayerSkipConfig,
    SkipLayerGuidance,
)
from diffusers.hooks import apply_layer_skip
from diffusers.modular_pipelines import PipelineState
from diffusers.modular_pipelines.flux.denoise import FluxDenoiseStep
from diffusers.modular_pipelines.qwenimage.denoise import QwenImageDenoiseStep
from diffusers.modular_pipelines.stable_diffusion_3.denoise import StableDiffusion3DenoiseStep
from diffusers.modular_pipelines.z_image.denoise import ZImageDenoiseStep
from tiny_families import CASES as FAMILIES
from tiny_models import CASES, predict

from taca import TacaConfig, active_steps, apply_taca, is_applied, remove_taca, taca

CONDITIONAL = TacaConfig(gamma=2.0, threshold=0.0, branches="conditional")
STEPS = 4
# What the blocks before the loop hand over to the transformer.
DENOISER = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "prompt_embeds_mask",
    "negative_prompt_embeds_mask",
    "img_shapes",
)
GUIDERS = {
    "ClassifierFreeGuidance": (lambda: ClassifierFreeGuidance(guidance_scale=3.0), [True, False] * STEPS),
    "without guidance": (lambda: ClassifierFreeGuidance(guidance_scale=1.0), [True] * STEPS),
    # Layers are skipped from the second step on, in a further pass for the prompt.
    "SkipLayerGuidance": (lambda: skip_layer(3.0), [True, False] + [True, False, True] * (STEPS - 1)),
    "SkipLayerGuidance alone": (lambda: skip_layer(1.0), [True] + [True, True] * (STEPS - 1)),
}


def skip_layer(guidance_scale):
    return SkipLayerGuidance(
        guidance_scale=guidance_scale,
        skip_layer_guidance_start=0.0,
        skip_layer_guidance_stop=1.0,
        # diffusers cannot skip a whole block of SD3: it takes what such a block gives for the two in the other order.
        skip_layer_config=LayerSkipConfig(indices=[0], skip_attention=False),
    )


def case(name):
    return next(case for case in CASES if case.name == name)


def sd3():
    text, pooled = torch.randn(2, 1, 5, 12), torch.randn(2, 1, 10)
    return (
        StableDiffusion3DenoiseStep(),
        tiny_sd3.transformer(),
        {
            "latents": torch.randn(1, 4, 8, 8),
            "prompt_embeds": text[0],
            "negative_prompt_embeds": text[1],
            "pooled_prompt_embeds": pooled[0],
            "negative_pooled_prompt_embeds": pooled[1],
        },
    )


def qwenimage():
    inputs = case("qwenimage").inputs([980.0])
    texts = torch.randn(2, *inputs["encoder_hidden_states"].shape)
    whole = torch.ones(texts.shape[1:3], dtype=torch.bool)
    return (
        QwenImageDenoiseStep(),
        case("qwenimage").model(),
        {
            "latents": inputs["hidden_states"],
            "prompt_embeds": texts[0],
            "negative_prompt_embeds": texts[1],
            "prompt_embeds_mask": whole,
            "negative_prompt_embeds_mask": whole,
            "img_shapes": inputs["img_shapes"],
        },
    )


def z_image():
    family = next(case for case in FAMILIES if case.transformer == "ZImageTransformer2DModel")
    generator = torch.Generator().manual_seed(1)
    text, other = torch.randn(2, 5, 12, generator=generator)
    inputs = {"latents": torch.randn(1, 4, 8, 8, generator=generator), "dtype": torch.float32}
    return ZImageDenoiseStep(), family.model(), inputs | {"prompt_embeds": [text], "negative_prompt_embeds": [other]}


PIPELINES = {"sd3": sd3, "qwenimage": qwenimage, "z-image": z_image}


def pipeline(name, guider):
    """A modular pipeline of the denoising loop alone, and what it is called with."""
    torch.manual_seed(0)
    blocks, transformer, inputs = PIPELINES[name]()
    pipe = blocks.init_pipeline()
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(STEPS)
    components = {"transformer": transformer, "scheduler": scheduler, "guider": guider}
    pipe.update_components(**{key: part for key, part in components.items() if key in pipe.component_names})
    return pipe, {**inputs, "timesteps": scheduler.timesteps, "num_inference_steps": STEPS}


def call(pipe, inputs):
    """As the blocks before the loop hand over to it."""
    state = PipelineState()
    for name, value in inputs.items():
        state.set(name, value, "denoiser_input_fields" if name in DENOISER else None)
    pipe.scheduler.set_timesteps(STEPS)
    with torch.no_grad():
        return pipe(state=state, output="latents")


def drawn(pipe, inputs, **options):
    """Latents, and for each pass which samples differ from the stock model's."""
    passes, told = [], []
    handle = pipe.transformer.register_forward_hook(
        lambda model, args, kwargs, output: passes.append((kwargs, output[0])), with_kwargs=True
    )
    with taca(pipe, **options):
        latents = call(pipe, inputs)
    handle.remove()
    for kwargs, output in passes:
        with torch.no_grad():
            stock = pipe.transformer(**kwargs)[0]
        told.append(not torch.allclose(torch.stack(list(output)), torch.stack(list(stock)), atol=1e-6))
    return latents, told


@pytest.mark.parametrize("name", PIPELINES)
class TestEveryPipeline:
    @pytest.mark.parametrize("guider", ["ClassifierFreeGuidance", "without guidance"])
    def test_the_guider_says_the_branch(self, name, guider):
        build, branches = GUIDERS[guider]
        _, told = drawn(*pipeline(name, build()), config=CONDITIONAL)
        assert told == branches

    @pytest.mark.parametrize("guider", ["SkipLayerGuidance", "SkipLayerGuidance alone"])
    def test_a_pass_with_layers_skipped_is_the_prompts(self, name, guider):
        """Told by what TACA notes: the stock model, which skips none, differs from such a pass anyway."""
        build, branches = GUIDERS[guider]
        pipe, inputs = pipeline(name, build())
        noted = []
        with taca(pipe, CONDITIONAL):
            hook = pipe.transformer._taca_hook
            conditional = hook.branches.conditional
            hook.branches.conditional = lambda *args: (noted.append(conditional(*args)), noted[-1])[1]
            call(pipe, inputs)
        assert noted == [[branch] for branch in branches]

    def test_both_branches_act_above_the_threshold_of_its_scheduler(self, name):
        """Of timesteps 1000, 750, 500 and 250."""
        _, told = drawn(*pipeline(name, ClassifierFreeGuidance(guidance_scale=3.0)), gamma=2.0, threshold=600.0)
        assert told == [True] * 4 + [False] * 4

    def test_the_pipeline_stands_for_its_transformer(self, name):
        pipe, _ = pipeline(name, ClassifierFreeGuidance())
        apply_taca(pipe, gamma=1.2)
        assert is_applied(pipe)
        assert is_applied(pipe.transformer)
        remove_taca(pipe)
        assert not is_applied(pipe.transformer)

    def test_active_steps_are_refused(self, name):
        pipe, _ = pipeline(name, ClassifierFreeGuidance())
        with pytest.raises(ValueError, match=r"The schedule of .*ModularPipeline is not known"):
            active_steps(pipe, 4, 64, 64)


def test_a_pipeline_with_one_branch_accepts_the_option():
    inputs, model = case("flux").inputs([980.0]), case("flux").model()
    pipe = FluxDenoiseStep().init_pipeline()
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(STEPS)
    pipe.update_components(transformer=model, scheduler=scheduler)
    arguments = {
        "latents": inputs["hidden_states"],
        "prompt_embeds": inputs["encoder_hidden_states"],
        "pooled_prompt_embeds": inputs["pooled_projections"],
        "txt_ids": inputs["txt_ids"],
        "img_ids": inputs["img_ids"],
        "guidance": inputs.get("guidance"),
        "timesteps": scheduler.timesteps,
        "num_inference_steps": STEPS,
    }
    _, told = drawn(pipe, arguments, config=CONDITIONAL)
    assert told == [True] * STEPS


@pytest.mark.parametrize("gamma", [2.0, 1.0])
def test_skipped_attention_scores_are_refused(gamma):
    """As perturbed-attention guidance skips them, where diffusers can: with TACA it would skip none, without a word."""
    layers = LayerSkipConfig(
        indices=[1], fqn="transformer_blocks", skip_attention=False, skip_attention_scores=True, skip_ff=False
    )
    model = case("qwenimage").model()
    with torch.no_grad(), taca(model, gamma=gamma):
        apply_layer_skip(model, layers)
        if gamma == 1.0:
            predict(model, case("qwenimage").inputs([980.0]))
            return
        with pytest.raises(ValueError, match="attention scores are skipped"):
            predict(model, case("qwenimage").inputs([980.0]))


def test_a_modular_pipeline_without_a_transformer_is_refused():
    pipe, _ = pipeline("sd3", ClassifierFreeGuidance())
    pipe.update_components(transformer=None)
    with pytest.raises(ValueError, match="has no transformer"):
        apply_taca(pipe)


def test_the_mark_that_a_guider_puts_on_its_batches_is_where_taca_looks():
    """A private name of diffusers: moved, this says so."""
    guider = ClassifierFreeGuidance(guidance_scale=3.0)
    guider.set_state(step=0, num_inference_steps=1, timestep=torch.tensor(1000))
    batches = guider.prepare_inputs({"encoder_hidden_states": (torch.zeros(1), torch.ones(1))})
    mark = getattr(type(guider), "_identifier_key", "absent")
    names = [getattr(batch, mark, None) for batch in batches]
    assert names == ["pred_cond", "pred_uncond"], "BaseGuidance marks its batches otherwise: mend taca.branches"
