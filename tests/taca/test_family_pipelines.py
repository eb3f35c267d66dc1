"""The real pipeline of a family: the steps in which TACA acts are the first ones, whichever way it counts time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module

import diffusers
import pytest
import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLHunyuanVideo15,
    AutoencoderKLMagvit,
    AutoencoderKLWan,
    ClassifierFreeGuidance,
    CogVideoXDDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    MiniMaxH3Scheduler,
    ModularPipeline,
    UniPCMultistepScheduler,
)

# The package shows it where OpenCV is installed, which a pipeline that is given embeddings of a face does without.
from diffusers.pipelines.consisid.pipeline_consisid import ConsisIDPipeline
from PIL import Image
from tiny_families import CASES, grid, predict
from tiny_pipelines import autoencoder, pipeline
from transformers import (
    Qwen2VLImageProcessor,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from taca import active_steps, taca
from taca.families import attention_modules, family_of
from taca.noise import schedule_levels
from taca.processors.base import TacaProcessor
from taca.resolutions import _pixels_of_token
from tests.tiny_llava import byte_tokenizer


def embeds(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def masks(dtype: torch.dtype = torch.long) -> dict:
    whole = torch.ones(1, 6, dtype=dtype)
    return {"prompt_attention_mask": whole, "negative_prompt_attention_mask": whole}


TEMPLATE = "{% for message in messages %}{{ message['role'] }}{% endfor %}"
# How pipelines name the methods that encode a prompt.
ENCODERS = ("encode_prompt", "encode_prompt_multiple_images")
PROMPTS = {"prompt_embeds": embeds(1, 6, 12), "negative_prompt_embeds": embeds(1, 6, 12)}
LISTS = {"prompt_embeds": [embeds(5, 12)], "negative_prompt_embeds": [embeds(7, 12)]}
WHOLE = {name: torch.ones(1, 6, dtype=torch.long) for name in ("prompt_embeds_mask", "negative_prompt_embeds_mask")}
GLYPHS = {
    "prompt_embeds_2": embeds(1, 4, 10),
    "negative_prompt_embeds_2": embeds(1, 4, 10),
    "prompt_embeds_mask_2": torch.ones(1, 4, dtype=torch.long),
    "negative_prompt_embeds_mask_2": torch.ones(1, 4, dtype=torch.long),
}
DYNAMIC = {"use_dynamic_shifting": True}


@dataclass(frozen=True)
class Drawing:
    """How a family's pipeline is built and called.

    Attributes:
        case: the name of the family's case.
        options: of the call.
        changes: to the model's configuration.
        scheduler: makes it.
        components: of the pipeline, beside model and scheduler.
        encoded: what encoding the prompt returns, where the pipeline's call takes no embeddings.
        blocks: of a modular pipeline, the class of its steps from embeddings to latents.
    """

    case: str
    options: dict
    changes: dict = field(default_factory=dict)
    scheduler: Callable = FlowMatchEulerDiscreteScheduler
    components: Callable[[], dict] = dict
    encoded: Callable[..., tuple] | None = None
    blocks: str = ""


def flow_matching(**config) -> Callable:
    return partial(FlowMatchEulerDiscreteScheduler, **config)


def guided() -> dict:
    return {"guider": ClassifierFreeGuidance()}


def ideogram_prompt(_, grid_h: int, grid_w: int, max_sequence_length: int, **__) -> tuple:
    role = torch.tensor([[3] * max_sequence_length + [2] * grid_h * grid_w])
    places = torch.cat([torch.zeros(max_sequence_length, 3), grid(grid_h, grid_w)]).long()[None]
    return embeds(1, role.shape[1], 12), places, torch.ones_like(role), role


def fibo_prompt(*_, **__) -> tuple:
    text, mask, layers = embeds(1, 6, 12), torch.ones(1, 6), [embeds(1, 6, 10)] * 4
    return text, text, torch.zeros(6, 3), mask, mask, layers, layers


def picture() -> Image.Image:
    return Image.new("RGB", (64, 64), "red")


def image_encoder() -> dict:
    """What FramePack sees its first frame with."""
    config = SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    size = {"height": 16, "width": 16}
    return {"image_encoder": SiglipVisionModel(config).eval(), "feature_extractor": SiglipImageProcessor(size=size)}


def wan_autoencoder(**config) -> dict:
    sizes = {"base_dim": 4, "z_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    return {"vae": AutoencoderKLWan(**sizes, latents_mean=[0.0] * 4, latents_std=[1.0] * 4, **config).eval()}


def reader() -> dict:
    """Of prompts and images, as the Qwen models have it."""
    parts = {"image_processor": Qwen2VLImageProcessor(), "video_processor": Qwen3VLVideoProcessor()}
    return {"processor": Qwen3VLProcessor(tokenizer=byte_tokenizer(), chat_template=TEMPLATE, **parts)}


def chat_tokenizer():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def unconditional() -> dict:
    return {"unconditional_transformer": case_of("ideogram4").model()}


PIPELINES = {
    "ZImagePipeline": Drawing("zimage", LISTS, scheduler=flow_matching(**DYNAMIC)),
    "ChromaPipeline": Drawing(
        "chroma", PROMPTS | masks(torch.bool), {"in_channels": 16}, scheduler=flow_matching(**DYNAMIC)
    ),
    "OvisImagePipeline": Drawing(
        "ovis",
        PROMPTS | {"negative_prompt": None},
        {"in_channels": 16, "out_channels": 16},
        scheduler=flow_matching(**DYNAMIC),
    ),
    "Lumina2Pipeline": Drawing("lumina2", PROMPTS | masks(), scheduler=flow_matching(**DYNAMIC)),
    "CogView4Pipeline": Drawing("cogview4", PROMPTS, scheduler=flow_matching(**DYNAMIC)),
    "AuraFlowPipeline": Drawing("auraflow", PROMPTS | masks()),
    "MochiPipeline": Drawing(
        "mochi",
        {"prompt_embeds": embeds(1, 6, 16), "negative_prompt_embeds": embeds(1, 6, 16), "num_frames": 7}
        | masks(torch.bool),
        scheduler=flow_matching(invert_sigmas=True),
    ),
    "HiDreamImagePipeline": Drawing(
        "hidream",
        {
            "prompt_embeds_t5": embeds(1, 6, 12),
            "negative_prompt_embeds_t5": embeds(1, 6, 12),
            "prompt_embeds_llama3": embeds(4, 1, 5, 10),
            "negative_prompt_embeds_llama3": embeds(4, 1, 5, 10),
            "pooled_prompt_embeds": embeds(1, 11),
            "negative_pooled_prompt_embeds": embeds(1, 11),
        },
        scheduler=flow_matching(**DYNAMIC),
    ),
    "GlmImagePipeline": Drawing(
        "glmimage", PROMPTS | {"prior_token_ids": torch.arange(16)[None]}, scheduler=flow_matching(**DYNAMIC)
    ),
    "HunyuanImagePipeline": Drawing("hunyuanimage", PROMPTS | WHOLE | GLYPHS, components=guided),
    "HunyuanVideo15Pipeline": Drawing(
        "hunyuanvideo15-text",
        PROMPTS | WHOLE | GLYPHS | {"num_frames": 1},
        {"in_channels": 9},
        components=lambda: {"vae": hunyuan_video_autoencoder(), **guided()},
    ),
    "BriaPipeline": Drawing("bria", PROMPTS, {"in_channels": 16}, components=lambda: {"vae": autoencoder()}),
    "BriaFiboPipeline": Drawing(
        "briafibo", {"prompt": "", "do_patching": True}, {"in_channels": 16}, encoded=fibo_prompt
    ),
    "BriaFibo2Pipeline": Drawing(
        "briafibo2",
        {"prompt_embeds": embeds(1, 2, 8, 12), "negative_prompt_embeds": embeds(1, 2, 8, 12)}
        | {name: torch.ones(1, 8, dtype=torch.long) for name in WHOLE},
    ),
    "LongCatImagePipeline": Drawing(
        "longcat",
        {"prompt": "", "enable_prompt_rewrite": False},
        {"in_channels": 64},
        scheduler=flow_matching(**DYNAMIC),
        encoded=lambda *_, **__: (embeds(1, 6, 12), torch.zeros(6, 3)),
    ),
    "CogView3PlusPipeline": Drawing("cogview3plus", PROMPTS, scheduler=CogVideoXDDIMScheduler),
    "Krea2Pipeline": Drawing(
        "krea2",
        {"prompt_embeds": embeds(1, 6, 2, 16), "negative_prompt_embeds": embeds(1, 6, 2, 16)}
        | {name: mask.bool() for name, mask in WHOLE.items()},
        {"in_channels": 16},
        scheduler=flow_matching(**DYNAMIC),
        components=lambda: {"patch_size": 2, "is_distilled": False, "text_encoder_select_layers": (0, 1)},
    ),
    "ErnieImagePipeline": Drawing("ernieimage", LISTS, {"in_channels": 16, "out_channels": 16}),
    "Ideogram4Pipeline": Drawing(
        "ideogram4",
        {"prompt": "", "max_sequence_length": 6, "guidance_scale": 3.0, "guidance_schedule": None},
        components=unconditional,
        encoded=ideogram_prompt,
    ),
    "EasyAnimatePipeline": Drawing(
        "easyanimate",
        PROMPTS | masks() | {"num_frames": 5},
        {"text_embed_dim_t5": None},
        components=lambda: {"vae": video_autoencoder()},
    ),
    "NucleusMoEImagePipeline": Drawing("nucleusmoe", PROMPTS | WHOLE, scheduler=flow_matching(**DYNAMIC)),
    # Its scheduler counts from noise to image, from 0 to 1.
    "OmniGenPipeline": Drawing(
        "omnigen",
        {"prompt": "a", "height": 32, "width": 32},
        {"vocab_size": 290},
        scheduler=flow_matching(invert_sigmas=True, num_train_timesteps=1),
        components=lambda: {"tokenizer": byte_tokenizer(), "vae": autoencoder()},
    ),
    "PRXPipeline": Drawing("prx", PROMPTS | masks(torch.bool) | {"use_resolution_binning": False}),
    "Flux2Pipeline": Drawing("flux2", {"prompt_embeds": embeds(1, 6, 12)}, scheduler=flow_matching(**DYNAMIC)),
    "HunyuanVideoPipeline": Drawing(
        "hunyuanvideo",
        {
            "prompt_embeds": embeds(1, 6, 12),
            "pooled_prompt_embeds": embeds(1, 10),
            "prompt_attention_mask": torch.ones(1, 6, dtype=torch.bool),
            "num_frames": 5,
        },
    ),
    "QwenImage21Pipeline": Drawing(
        "qwenimage21",
        {"prompt": "a"},
        scheduler=flow_matching(**DYNAMIC),
        components=reader,
        encoded=lambda *_, **__: (embeds(1, 6, 12), None, torch.zeros(1, 6, dtype=torch.bool)),
    ),
    "HunyuanVideoFramepackPipeline": Drawing(
        "framepack",
        {
            "image": picture(),
            "prompt_embeds": embeds(1, 6, 12),
            "pooled_prompt_embeds": embeds(1, 10),
            "prompt_attention_mask": torch.ones(1, 6, dtype=torch.bool),
            "num_frames": 5,
            "latent_window_size": 2,
        },
        {"image_proj_dim": 16},
        scheduler=flow_matching(**DYNAMIC),
        components=lambda: {"vae": framepack_autoencoder(), **image_encoder()},
    ),
    "ConsisIDPipeline": Drawing(
        "consisid",
        PROMPTS | {"image": picture(), "num_frames": 5},
        {"in_channels": 8, "sample_width": 8, "sample_height": 8},
        scheduler=CogVideoXDDIMScheduler,
        components=lambda: {"vae": cogvideox_autoencoder()},
    ),
    # Its sizes are fixed ones around 1024 x 1024 pixels, so that a token has to show many.
    "JoyImageEditPipeline": Drawing(
        "joyimage",
        PROMPTS | {name: torch.ones(1, 6, dtype=torch.long) for name in WHOLE},
        components=lambda: wan_autoencoder(scale_factor_spatial=128),
    ),
    "JoyImageEditPlusPipeline": Drawing(
        "joyimageplus",
        {"prompt": "a"},
        components=wan_autoencoder,
        encoded=lambda *_, **__: (embeds(1, 6, 12), torch.ones(1, 6, dtype=torch.long)),
    ),
    "MotifVideoPipeline": Drawing(
        "motifvideo",
        PROMPTS | masks() | {"num_frames": 5},
        {"in_channels": 9},
        scheduler=flow_matching(**DYNAMIC),
        components=lambda: wan_autoencoder() | guided(),
    ),
    "Cosmos3OmniPipeline": Drawing(
        "cosmos3",
        {"prompt": "a", "num_frames": 1, "enable_safety_check": False},
        {"vocab_size": 290},
        scheduler=partial(UniPCMultistepScheduler, use_flow_sigmas=True, prediction_type="flow_prediction"),
        components=lambda: {**wan_autoencoder(), "text_tokenizer": chat_tokenizer(), "enable_safety_checker": False},
    ),
    "Flux3ModularPipeline": Drawing(
        "flux3", PROMPTS, components=guided, blocks="flux3.modular_blocks_flux3.Flux3CoreDenoiseStep"
    ),
    # Five seconds of video are the least, and its scheduler counts the end as a step.
    "MiniMaxH3ModularPipeline": Drawing(
        "minimaxh3",
        {
            "prompt_embeds": embeds(1, 6, 12),
            "text_token_tags": torch.ones(6, dtype=torch.long),
            "num_inference_steps": 5,
        },
        {"in_channels": 24, "audio_in_channels": 32},
        scheduler=MiniMaxH3Scheduler,
        components=lambda: {"audio_scheduler": MiniMaxH3Scheduler()},
        blocks="minimax_h3.modular_blocks_minimax_h3.MiniMaxH3CoreDenoiseStep",
    ),
}
PIPELINES = {name: drawing for name, drawing in PIPELINES.items() if hasattr(diffusers, name)}


def hunyuan_video_autoencoder():
    return AutoencoderKLHunyuanVideo15(latent_channels=4, block_out_channels=(4,) * 5, layers_per_block=1).eval()


def framepack_autoencoder():
    blocks = {"down_block_types": ("HunyuanVideoDownBlock3D",) * 4, "up_block_types": ("HunyuanVideoUpBlock3D",) * 4}
    sizes = {"block_out_channels": (4,) * 4, "layers_per_block": 1, "norm_num_groups": 2, "latent_channels": 4}
    return AutoencoderKLHunyuanVideo(**blocks, **sizes, mid_block_add_attention=False).eval()


def cogvideox_autoencoder():
    blocks = {"down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4}
    sizes = {"block_out_channels": (4,) * 4, "layers_per_block": 1, "norm_num_groups": 2, "latent_channels": 4}
    return AutoencoderKLCogVideoX(**blocks, **sizes).eval()


def video_autoencoder():
    return AutoencoderKLMagvit(latent_channels=4, block_out_channels=(4,) * 4, norm_num_groups=2).eval()


def case_of(name: str):
    return next(case for case in CASES if case.name == name)


def built(name: str):
    """The pipeline of that name."""
    drawing = PIPELINES[name]
    model = case_of(drawing.case).model(**drawing.changes)
    if drawing.blocks:
        module, _, blocks = drawing.blocks.rpartition(".")
        pipe = getattr(import_module(f"diffusers.modular_pipelines.{module}"), blocks)().init_pipeline()
        pipe.update_components(transformer=model, scheduler=drawing.scheduler(), **drawing.components())
        return pipe
    kind = ConsisIDPipeline if name == "ConsisIDPipeline" else getattr(diffusers, name)
    if drawing.encoded is not None:
        kind = type(name, (kind,), dict.fromkeys(ENCODERS, drawing.encoded))
    pipe = pipeline(kind, model, drawing.scheduler(), **drawing.components())
    pipe.default_sample_size = 8
    return pipe


def draw(pipe, options: dict) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    options = {"height": 64, "width": 64, "num_inference_steps": 4, "generator": generator, **options}
    if isinstance(pipe, ModularPipeline):
        return pipe(**options, output="latents")
    latents = pipe(**options, output_type="latent", return_dict=False)[0]
    return torch.cat(latents) if isinstance(latents, list) else latents


@pytest.mark.parametrize("name", PIPELINES)
@torch.no_grad()
def test_the_first_steps_are_the_active_ones(name):
    pipe, options = built(name), PIPELINES[name].options
    model = pipe.transformer
    stock = draw(pipe, options)
    levels = schedule_levels(pipe.scheduler)
    assert levels[0] > levels[1] > levels[2] > levels[3]
    acted = []
    site = next(iter(attention_modules(model, family_of(model))))
    site.register_forward_pre_hook(lambda attn, *_: acted.append(isinstance(attn.processor, TacaProcessor)))
    with taca(pipe, gamma=1.5, threshold=(levels[1] + levels[2]).item() / 2, threshold_of="index"):
        assert not torch.equal(draw(pipe, options), stock)
    half = len(acted) // 2
    assert acted == [True] * half + [False] * half
    assert torch.equal(draw(pipe, options), stock)


KNOWN = [
    "AuraFlowPipeline",
    "ErnieImagePipeline",
    "HunyuanImagePipeline",
    "HunyuanVideo15Pipeline",
    "Krea2Pipeline",
    "LongCatImagePipeline",
    "Lumina2Pipeline",
    "NucleusMoEImagePipeline",
    "PRXPipeline",
]


@pytest.mark.parametrize("name", KNOWN)
@torch.no_grad()
def test_active_steps_and_the_size_of_a_token_are_what_they_then_are(name, monkeypatch):
    """The size from how many more keys a picture of twice the width has."""
    pipe, lengths, kernel = built(name), [], F.scaled_dot_product_attention

    def recorded(query, key, *args, **kwargs):
        lengths.append(key.shape[-2])
        return kernel(query, key, *args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", recorded)
    found = []
    for width in (64, 128):
        told = active_steps(pipe, 4, 64, width, threshold=600.0)
        lengths.clear()
        draw(pipe, PIPELINES[name].options | {"width": width})
        found.append(max(lengths))
        assert told == [(step, t) for step, t in enumerate(pipe.scheduler.timesteps.tolist()) if t >= 600.0]
        assert 0 < len(told) < 4
    assert found[1] - found[0] == (64 // _pixels_of_token(pipe)) ** 2


def told_branches(name: str, options: dict) -> list[tuple[list[bool], dict]]:
    """What `branches="conditional"` takes the samples of each pass for, and the arguments of the pass."""
    pipe, told = built(name), []
    with taca(pipe, gamma=2.0, threshold=0.0, branches="conditional"):
        branches = pipe.transformer._taca_hook.branches
        conditional = branches.conditional

        def noted(arguments, batch):
            told.append((conditional(arguments, batch), dict(arguments)))
            return told[-1][0]

        branches.conditional = noted
        draw(pipe, PIPELINES[name].options | options)
    return told


GUIDED = {
    "AuraFlowPipeline": {"guidance_scale": 3.0},
    "ErnieImagePipeline": {"guidance_scale": 3.0},
    "HiDreamImagePipeline": {"guidance_scale": 3.0},
    "HunyuanImagePipeline": {},
    "HunyuanVideo15Pipeline": {},
    "MotifVideoPipeline": {},
}


@pytest.mark.parametrize("name", GUIDED)
@torch.no_grad()
def test_the_conditional_branch_is_known(name):
    """Here negative embeddings are large, by which a reader knows them too."""
    options = GUIDED[name] | {"num_inference_steps": 1}
    for key, value in PIPELINES[name].options.items():
        if key.startswith("negative") and "mask" not in key:
            options[key] = [one + 100 for one in value] if isinstance(value, list) else value + 100
    told = told_branches(name, options)
    assert told
    for conditional, arguments in told:
        text = arguments[family_of(built(name).transformer).text]
        samples = text.unbind(1 if name == "HiDreamImagePipeline" else 0)
        assert conditional == [sample.mean().item() < 40 for sample in samples]
    assert {one for conditional, _ in told for one in conditional} == {True, False}


@pytest.mark.parametrize("name", ["BriaFiboPipeline", "ErnieImagePipeline", "HiDreamImagePipeline"])
@torch.no_grad()
def test_the_only_branch_is_the_conditional_one(name):
    """Also where the prompt's embeddings reach the transformer in another form."""
    told = told_branches(name, {"guidance_scale": 1.0, "num_inference_steps": 1})
    assert [conditional for conditional, _ in told] == [[True]]


@torch.no_grad()
def test_the_conditional_branches_of_omnigen_and_ideogram_4():
    """The first part of a batch, which alone has the prompt; and all of the transformer that sees text."""
    ((conditional, arguments),) = told_branches("OmniGenPipeline", {"prompt": "~", "num_inference_steps": 1})
    asked = byte_tokenizer()("~").input_ids[0]
    assert conditional == (arguments["input_ids"] == asked).any(dim=1).tolist() == [True, False]
    told = told_branches("Ideogram4Pipeline", {"num_inference_steps": 1})
    assert [conditional for conditional, _ in told] == [[True]]


@torch.no_grad()
def test_the_second_transformer_of_ideogram_4_sees_no_text_and_stays_as_it_is():
    """Every pass of it is the stock model's, also where the first one's is not."""
    pipe, options = built("Ideogram4Pipeline"), PIPELINES["Ideogram4Pipeline"].options
    second, passes = pipe.unconditional_transformer, []
    second.register_forward_hook(
        lambda _, args, kwargs, output: passes.append((dict(kwargs), output[0].clone())), with_kwargs=True
    )
    with taca(pipe, gamma=2.0, threshold=0.0):
        draw(pipe, options)
    assert len(passes) == 4
    for given, output in list(passes):
        assert torch.equal(second(**given)[0], output)
        assert not family_of(second).tokens(second, given).is_text.any()


@torch.no_grad()
def test_the_schedule_of_minimax_h3_begins_with_the_active_steps():
    """Its own scheduler counts from 0, which is noise, to 1; rows of a reference image are at 1 all the time."""
    case, scheduler = case_of("minimaxh3"), MiniMaxH3Scheduler()
    model, arguments = case.model(), case.inputs([980.0], torch.float32)
    scheduler.set_timesteps(5)
    levels = schedule_levels(scheduler)
    assert levels[0] == 1000 > levels[1] > levels[2] > levels[3] > 0
    changed = []
    for t in scheduler.timesteps:
        given = arguments | {"timestep": torch.stack([t, torch.ones_like(t)])}
        stock = predict(model, given)
        with taca(model, scheduler=scheduler, threshold=(levels[1] + levels[2]).item() / 2):
            changed.append(not torch.equal(predict(model, given), stock))
    assert changed == [True, True, False, False]


def test_cosmos_3_with_sound_is_refused():
    case = case_of("cosmos3")
    model, arguments = case.model(), case.inputs([980.0], torch.float32)
    with taca(model), pytest.raises(ValueError, match="draws sound or actions too"):
        predict(model, arguments | {"sound_tokens": [torch.zeros(1)]})
