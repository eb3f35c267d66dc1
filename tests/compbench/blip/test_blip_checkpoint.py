"""What is BLIP's own in its published file: names, tensors that are there twice, and its size of 480 pixels."""

from dataclasses import replace

import pytest
import torch

from benchmarks.blip_layout import layout, random_checkpoint
from benchmarks.plain_blip import PlainBlip
from compbench.errors import CompbenchError
from compbench.scorers.blip.checkpoint import load_model, published
from compbench.scorers.blip.config import BlipConfig
from compbench.scorers.blip.model import BlipVqa
from compbench.weights.checkpoint import published_shapes
from tests.compbench.blip.tiny_blip import write_blip

DECODER = "text_decoder.cls.predictions.decoder"


def test_the_full_model_has_the_published_names_and_shapes(tmp_path):
    """150 tensors of the image encoder, twice 316 of text transformers, 7 of the word prediction."""
    with torch.device("meta"):
        model = BlipVqa(BlipConfig())
    shapes = {name: tuple(shape) for name, shape in published_shapes(model, published(tmp_path)).items()}
    expected = dict(layout(BlipConfig()))
    assert shapes == expected
    assert len(expected) == (2 + 2 + 12 * 12 + 2) + 2 * (4 + 12 * 26) + 7
    assert expected["visual_encoder.pos_embed"] == (1, 901, 768)
    assert expected["visual_encoder.blocks.11.attn.qkv.weight"] == (2304, 768)
    assert expected["text_decoder.bert.encoder.layer.11.crossattention.self.key.weight"] == (768, 768)
    assert expected["text_decoder.cls.predictions.decoder.weight"] == (30524, 768)


def test_tensors_that_are_there_twice_are_kept_once(tmp_path, tensors, config):
    write_blip(tmp_path, (), tensors)
    state = load_model(tmp_path, config).state_dict()
    assert len(state) == len(tensors) - 4, "two buffers, and two tensors that are there twice"
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in state.items())


def test_position_ids_need_not_be_there(tmp_path, tensors, config):
    write_blip(tmp_path, (), {n: t for n, t in tensors.items() if "position_ids" not in n})
    load_model(tmp_path, config)


@torch.inference_mode()
def test_of_tied_tensors_the_last_counts_as_when_it_is_loaded_by_name(tmp_path, tensors, config, tokenizer):
    other = torch.randn_like(tensors[f"{DECODER}.weight"])
    write_blip(tmp_path, (), {**tensors, f"{DECODER}.weight": other})
    model = load_model(tmp_path, config)
    tied = {"text_decoder.bert.embeddings.word_embeddings.weight": other, f"{DECODER}.weight": other}
    plain = PlainBlip({**tensors, **tied}, config)
    states, (_, mask) = torch.randn(1, 6, config.hidden_size), tokenizer(["a green bench?"])
    logits = model.text_decoder(states, mask)
    torch.testing.assert_close(torch.sigmoid(logits[:, 0] - logits[:, 1]), plain.yes_probability(states, mask))


def test_the_384_pixel_copy_is_refused(tmp_path, config):
    write_blip(tmp_path, (), random_checkpoint(replace(config, image_size=48)))
    with pytest.raises(CompbenchError, match=r"visual_encoder\.pos_embed \(1, 10, 48\) instead of \(1, 17, 48\)"):
        load_model(tmp_path, config)
