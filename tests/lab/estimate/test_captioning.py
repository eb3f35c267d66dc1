"""What LLaVA takes, held to its published configuration."""

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

from lab.estimate.captioning import SIZES, describe
from lab.params.profile import profile_params
from tests.tiny_llava import CONFIG


def test_the_sizes_are_those_of_the_published_configuration():
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(LlavaConfig(**CONFIG))
    sizes, text = {name: weight.numel() for name, weight in model.named_parameters()}, model.config.text_config
    language = sum(size for name, size in sizes.items() if "language_model" in name or "lm_head" in name)
    found = SIZES["llava-hf/llava-1.5-7b-hf"]
    assert (found.language, found.vision) == (language, sum(sizes.values()) - language)
    assert found.cached == 2 * text.num_hidden_layers * text.hidden_size
    assert found.patches == (CONFIG["vision_config"]["image_size"] // CONFIG["vision_config"]["patch_size"]) ** 2


def test_a_larger_batch_takes_more_memory_and_no_more_work():
    caption = profile_params("sd35-medium").caption
    small, large = (describe(caption.model_copy(update={"batch_size": size}), 100) for size in (1, 8))
    assert 14e9 < small.peak < large.peak < 24e9
    assert small.flops == large.flops


def test_nothing_is_said_of_a_model_whose_size_nobody_knows():
    caption = profile_params("sd35-medium").caption
    assert describe(caption.model_copy(update={"repo": "some/llava"}), 100) is None
