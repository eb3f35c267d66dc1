"""Keys that a family keeps from pass to pass are kept unscaled: they serve passes above the threshold and below."""

import pytest
import torch
from diffusers.hooks.text_kv_cache import TextKVCacheConfig, apply_text_kv_cache
from diffusers.models.transformers.transformer_glm_image import GlmImageKVCache
from diffusers.models.transformers.transformer_qwenimage21 import QwenImage21KVCache
from observed_taca import explicit_taca, joint_attention
from tiny_families import CASES, predict
from tiny_sd3 import relative_error

from taca import taca

LEVELS = [980.0, 975.0, 500.0]


def case_of(name: str):
    return next(case for case in CASES if case.name == name)


def passes(model, case, cached: list[dict]) -> list[torch.Tensor]:
    """Predictions of one image's steps under TACA."""
    with taca(model, gamma=1.5):
        return [predict(model, {**case.inputs([level]), **more}) for level, more in zip(LEVELS, cached, strict=True)]


@torch.no_grad()
def test_the_prompt_and_reference_image_of_qwen_image_21():
    case = case_of("qwenimage21")
    model = case.model().double()
    cache = QwenImage21KVCache(len(model.transformer_blocks))
    modes = [{"kv_cache": cache, "kv_cache_mode": mode} for mode in ("extract", "cached", "cached")]
    for kept, computed in zip(passes(model, case, modes), passes(model, case, [{}] * 3), strict=True):
        assert relative_error(kept[:, -16:], computed[:, -16:]) <= 1e-12


@pytest.mark.parametrize("enabled", [False, True], ids=["function", "method"])
@torch.no_grad()
def test_the_prompt_of_nucleus_moe(enabled):
    case = case_of("nucleusmoe")
    expected = passes(case.model().double(), case, [{}] * 3)
    model = case.model().double()
    prompt = case.inputs(LEVELS[:1])["encoder_hidden_states"]
    if enabled:
        model.enable_cache(TextKVCacheConfig())
    else:
        apply_text_kv_cache(model, TextKVCacheConfig())
    # The cache knows a prompt by where it lies.
    for kept, computed in zip(passes(model, case, [{"encoder_hidden_states": prompt}] * 3), expected, strict=True):
        assert relative_error(kept, computed) <= 1e-12


@torch.no_grad()
def test_the_reference_images_of_glm_image():
    case = case_of("glmimage")
    model, arguments = case.model().double(), case.inputs([980.0])
    reference = {
        **case.other(arguments, case.latents),
        "encoder_hidden_states": arguments["encoder_hidden_states"][:, :0],
        "timestep": torch.zeros(1, dtype=torch.float64),
    }
    caches = GlmImageKVCache(2)
    caches.set_mode("write")
    with taca(model, gamma=1.5):
        predict(model, {**reference, "kv_caches": caches})
    caches.set_mode("read")
    arguments["kv_caches"] = caches
    others = (case.other(arguments, names) for names in (case.prompt, case.latents))
    joint = joint_attention(lambda given: predict(model, given), arguments, *others)
    with explicit_taca(joint, 1.5):
        expected = predict(model, arguments)
    stock = predict(model, arguments)
    with taca(model, gamma=1.5):
        assert relative_error(predict(model, arguments), expected) <= 1e-12
    assert relative_error(stock, expected) > 1e-6
