"""The model against the same one written plainly from its description, and against transformers' BLIP."""

from dataclasses import replace

import pytest
import torch
from transformers import BlipConfig as PublicConfig
from transformers import BlipForQuestionAnswering

from benchmarks.blip_layout import random_checkpoint
from benchmarks.plain_blip import PlainBlip
from compbench.scorers.blip.checkpoint import load_model
from tests.compbench.blip.tiny_blip import write_blip

QUESTIONS = ["a green bench?", "the blue bowl, the green bowl and the left bench?", "bowl"]


@pytest.fixture(params=[{"num_hidden_layers": 1}, {"num_hidden_layers": 3}, {"image_size": 480}], ids=str)
def pair(request, config, tmp_path):
    """The model and the plain one on the same checkpoint."""
    config = replace(config, **request.param)
    tensors = random_checkpoint(config, seed=3)
    write_blip(tmp_path, (), tensors)
    return load_model(tmp_path, config), PlainBlip(tensors, config)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_every_part_agrees_with_the_plain_model(pair, tokenizer):
    """Image tokens, question tokens that are no padding, and answers, each from the same inputs, within 1e-5."""
    model, plain = pair
    side, tokens = model.config.image_size, model.config.image_tokens
    images = normal(3, 3, side, side)
    torch.testing.assert_close(model.visual_encoder(images), plain.image_states(images), atol=1e-5, rtol=0)
    input_ids, mask = tokenizer(QUESTIONS)
    memory = normal(3, tokens, model.config.hidden_size)
    expected = plain.question_states(memory, input_ids, mask)
    torch.testing.assert_close(model.text_encoder(input_ids, mask, memory)[mask], expected[mask], atol=1e-5, rtol=0)
    logits = model.text_decoder(expected, mask)
    torch.testing.assert_close(
        torch.sigmoid(logits[:, 0] - logits[:, 1]), plain.yes_probability(expected, mask), atol=1e-5, rtol=0
    )


@torch.inference_mode()
def test_probabilities_agree_with_the_plain_model_and_differ_among_questions(pair, tokenizer):
    model, plain = pair
    images = normal(3, 3, model.config.image_size, model.config.image_size)
    input_ids, mask = tokenizer(QUESTIONS)
    found = model.yes_probability(model.visual_encoder(images), input_ids, mask)
    expected = plain.yes_probability(plain.question_states(plain.image_states(images), input_ids, mask), mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert expected.max() - expected.min() > 0.01, "a test that tells nothing apart"


@torch.inference_mode()
def test_padding_changes_nothing(model, tokenizer):
    memory = normal(3, model.config.image_tokens, model.config.hidden_size)
    together = model.yes_probability(memory, *tokenizer(QUESTIONS))
    alone = [
        model.yes_probability(memory[i : i + 1], *tokenizer([question])).item() for i, question in enumerate(QUESTIONS)
    ]
    assert together.tolist() == pytest.approx(alone, abs=1e-6)


PUBLIC_NAMES = {
    "visual_encoder.cls_token": "vision_model.embeddings.class_embedding",
    "visual_encoder.pos_embed": "vision_model.embeddings.position_embedding",
    "visual_encoder.patch_embed.proj": "vision_model.embeddings.patch_embedding",
    "visual_encoder.blocks": "vision_model.encoder.layers",
    "visual_encoder.norm": "vision_model.post_layernorm",
    ".attn.proj": ".self_attn.projection",
    ".attn.": ".self_attn.",
    ".norm1.": ".layer_norm1.",
    ".norm2.": ".layer_norm2.",
}


def public_name(name: str) -> str:
    for ours, theirs in PUBLIC_NAMES.items():
        name = name.replace(ours, theirs)
    return name


@pytest.fixture(scope="module")
def public(tensors, config):
    """transformers' own BLIP with the published eps and number of heads, which its defaults are not."""
    sizes = {
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
    }
    vision = {**sizes, "image_size": config.image_size, "layer_norm_eps": 1e-6}
    text = {**sizes, "max_position_embeddings": config.max_position_embeddings}
    public = BlipForQuestionAnswering(PublicConfig(text_config=text, vision_config=vision)).eval()
    weights = {public_name(name): tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}
    public.load_state_dict(weights)
    return public


@pytest.mark.parametrize("question", QUESTIONS)
@torch.inference_mode()
def test_probabilities_agree_with_transformers_blip(model, public, tokenizer, question):
    """Of one question at a time: 5.23 loses the mask of the cross-attention, so that padding would be read."""
    images = normal(1, 3, model.config.image_size, model.config.image_size)
    input_ids, mask = tokenizer([question])
    states = public.vision_model(images).last_hidden_state
    asked = public.text_encoder(input_ids, mask, encoder_hidden_states=states).last_hidden_state
    logits = public.text_decoder(torch.tensor([[30522]]), encoder_hidden_states=asked).logits[:, 0]
    yes, no = logits.softmax(-1)[:, [2748, 2053]].unbind(-1)
    found = model.yes_probability(model.visual_encoder(images), input_ids, mask)
    torch.testing.assert_close(found, yes / (yes + no), atol=1e-5, rtol=0)
