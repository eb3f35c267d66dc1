"""The real pipeline of a family: the steps in which TACA acts are the first ones, whichever way it counts time."""

import diffusers
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tiny_families import CASES
from tiny_pipelines import pipeline

from taca import taca
from taca.families import attention_modules, family_of
from taca.noise import schedule_levels
from taca.processors.base import TacaProcessor


def embeds(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def masks(dtype: torch.dtype = torch.long) -> dict:
    whole = torch.ones(1, 6, dtype=dtype)
    return {"prompt_attention_mask": whole, "negative_prompt_attention_mask": whole}


PROMPTS = {"prompt_embeds": embeds(1, 6, 12), "negative_prompt_embeds": embeds(1, 6, 12)}
LISTS = {"prompt_embeds": [embeds(5, 12)], "negative_prompt_embeds": [embeds(7, 12)]}
DYNAMIC = {"use_dynamic_shifting": True}
# Pipeline, case, changes to the model, options of the scheduler, arguments of the call.
PIPELINES = {
    "ZImagePipeline": ("zimage", {}, DYNAMIC, LISTS),
    "ChromaPipeline": ("chroma", {"in_channels": 16}, DYNAMIC, PROMPTS | masks(torch.bool)),
    "OvisImagePipeline": (
        "ovis",
        {"in_channels": 16, "out_channels": 16},
        DYNAMIC,
        PROMPTS | {"negative_prompt": None},
    ),
    "Lumina2Pipeline": ("lumina2", {}, DYNAMIC, PROMPTS | masks()),
    "CogView4Pipeline": ("cogview4", {}, DYNAMIC, PROMPTS),
    "AuraFlowPipeline": ("auraflow", {}, {}, PROMPTS | masks()),
    "MochiPipeline": (
        "mochi",
        {},
        {"invert_sigmas": True},
        {"prompt_embeds": embeds(1, 6, 16), "negative_prompt_embeds": embeds(1, 6, 16), "num_frames": 7}
        | masks(torch.bool),
    ),
    "HiDreamImagePipeline": (
        "hidream",
        {},
        DYNAMIC,
        {
            "prompt_embeds_t5": embeds(1, 6, 12),
            "negative_prompt_embeds_t5": embeds(1, 6, 12),
            "prompt_embeds_llama3": embeds(4, 1, 5, 10),
            "negative_prompt_embeds_llama3": embeds(4, 1, 5, 10),
            "pooled_prompt_embeds": embeds(1, 11),
            "negative_pooled_prompt_embeds": embeds(1, 11),
        },
    ),
    "GlmImagePipeline": ("glmimage", {}, DYNAMIC, PROMPTS | {"prior_token_ids": torch.arange(16)[None]}),
}


def draw(pipe, options: dict) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return pipe(
        **options,
        height=64,
        width=64,
        num_inference_steps=4,
        generator=generator,
        output_type="latent",
        return_dict=False,
    )[0]


@pytest.mark.parametrize("name", PIPELINES)
@torch.no_grad()
def test_the_first_steps_are_the_active_ones(name):
    case_name, changes, schedule, options = PIPELINES[name]
    case = next(case for case in CASES if case.name == case_name)
    torch.manual_seed(0)
    model = getattr(diffusers, case.transformer)(**{**case.config, **changes}).eval()
    pipe = pipeline(getattr(diffusers, name), model, FlowMatchEulerDiscreteScheduler(**schedule))
    pipe.default_sample_size = 8
    stock = draw(pipe, options)
    levels = schedule_levels(pipe.scheduler)
    assert levels[0] > levels[1] > levels[2] > levels[3]
    acted = []
    site = next(iter(attention_modules(model, family_of(model))))
    site.register_forward_pre_hook(lambda attn, *_: acted.append(isinstance(attn.processor, TacaProcessor)))
    with taca(pipe, gamma=1.5, threshold=(levels[1] + levels[2]).item() / 2):
        assert not torch.equal(draw(pipe, options), stock)
    half = len(acted) // 2
    assert acted == [True] * half + [False] * half
    assert torch.equal(draw(pipe, options), stock)
