"""The published file: every key accounted for, converted once, and again when it has changed."""

import pickle
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from benchmarks.blip_vqa import PlainBlip, layout, random_checkpoint
from taca.errors import StageError
from taca.scoring.blip.checkpoint import NAME, load_model, published_shapes
from taca.scoring.blip.config import BlipConfig
from taca.scoring.blip.model import BlipVqa

PTH, SAFETENSORS = f"{NAME}.pth", f"{NAME}.safetensors"
DECODER = "text_decoder.cls.predictions.decoder"


def save(folder, tensors, **changes):
    torch.save({"model": {**tensors, **changes}}, folder / PTH)


def test_the_full_model_has_the_published_names_and_shapes():
    """150 tensors of the image encoder, twice 316 of text transformers, 7 of the word prediction."""
    with torch.device("meta"):
        shapes = {name: tuple(shape) for name, shape in published_shapes(BlipVqa(BlipConfig())).items()}
    expected = dict(layout(BlipConfig()))
    assert shapes == expected
    assert len(expected) == (2 + 2 + 12 * 12 + 2) + 2 * (4 + 12 * 26) + 7
    assert expected["visual_encoder.pos_embed"] == (1, 901, 768)
    assert expected["visual_encoder.blocks.11.attn.qkv.weight"] == (2304, 768)
    assert expected["text_decoder.bert.encoder.layer.11.crossattention.self.key.weight"] == (768, 768)
    assert expected["text_decoder.cls.predictions.decoder.weight"] == (30524, 768)


def test_weights_arrive_as_they_were(tmp_path, tensors, config):
    save(tmp_path, tensors)
    state = load_model(tmp_path, config).state_dict()
    assert len(state) == len(tensors) - 4, "two buffers, and two tensors that are there twice"
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in state.items())


def test_position_ids_need_not_be_there(tmp_path, tensors, config):
    torch.save({"model": {n: t for n, t in tensors.items() if "position_ids" not in n}}, tmp_path / PTH)
    load_model(tmp_path, config)


@torch.inference_mode()
def test_of_tied_tensors_the_last_counts_as_when_it_is_loaded_by_name(tmp_path, tensors, config, tokenizer):
    other = torch.randn_like(tensors[f"{DECODER}.weight"])
    save(tmp_path, tensors, **{f"{DECODER}.weight": other})
    model = load_model(tmp_path, config)
    tied = {"text_decoder.bert.embeddings.word_embeddings.weight": other, f"{DECODER}.weight": other}
    plain = PlainBlip({**tensors, **tied}, config)
    states, (_, mask) = torch.randn(1, 6, config.hidden_size), tokenizer(["a green bench?"])
    logits = model.text_decoder(states, mask)
    torch.testing.assert_close(torch.sigmoid(logits[:, 0] - logits[:, 1]), plain.yes_probability(states, mask))


def test_missing_and_extra_keys_are_named(tmp_path, tensors, config):
    changed = dict(tensors)
    del changed["visual_encoder.norm.bias"]
    save(tmp_path, changed, **{"visual_encoder.head.weight": torch.zeros(2)})
    with pytest.raises(StageError, match=r"lacks visual_encoder\.norm\.bias; has besides visual_encoder\.head\.weight"):
        load_model(tmp_path, config)
    assert not (tmp_path / SAFETENSORS).exists()


def test_many_missing_keys_are_counted(tmp_path, tensors, config):
    torch.save({"model": {n: t for n, t in tensors.items() if "text_decoder" not in n}}, tmp_path / PTH)
    with pytest.raises(StageError, match=r"lacks text_decoder\.bert\.embeddings.* and \d+ more"):
        load_model(tmp_path, config)


def test_the_384_pixel_copy_is_refused(tmp_path, config):
    save(tmp_path, random_checkpoint(replace(config, image_size=48)))
    with pytest.raises(StageError, match=r"visual_encoder\.pos_embed \(1, 10, 48\) instead of \(1, 17, 48\)"):
        load_model(tmp_path, config)


class Code:
    def __reduce__(self):
        return print, ("executed",)


def test_a_file_that_would_run_code_is_refused(tmp_path, config, capsys):
    (tmp_path / PTH).write_bytes(pickle.dumps({"model": Code()}, protocol=2))
    with pytest.raises(StageError, match="cannot be read as weights"):
        load_model(tmp_path, config)
    torch.save({"model": Code()}, tmp_path / PTH)
    with pytest.raises(StageError, match="cannot be read as weights"):
        load_model(tmp_path, config)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("keep", [0, 100, -1000])
def test_a_file_cut_short_is_refused(tmp_path, tensors, config, keep):
    save(tmp_path, tensors)
    (tmp_path / PTH).write_bytes((tmp_path / PTH).read_bytes()[:keep])
    with pytest.raises(StageError, match=r"cannot be read as weights .*download it again from https://"):
        load_model(tmp_path, config)


def test_a_file_without_the_key_model_is_refused(tmp_path, tensors, config):
    torch.save(tensors, tmp_path / PTH)
    with pytest.raises(StageError, match="no weights under the key `model`"):
        load_model(tmp_path, config)


def test_no_file_at_all_is_named_with_its_address(tmp_path, config):
    with pytest.raises(StageError, match=rf"{PTH} does not exist: download it from https://.*{PTH}"):
        load_model(tmp_path, config)


def test_conversion_happens_once_and_then_needs_no_original(tmp_path, tensors, config):
    save(tmp_path, tensors)
    load_model(tmp_path, config)
    written = (tmp_path / SAFETENSORS).stat().st_mtime_ns
    load_model(tmp_path, config)
    assert (tmp_path / SAFETENSORS).stat().st_mtime_ns == written
    assert sorted(path.name for path in tmp_path.iterdir()) == [PTH, SAFETENSORS]
    (tmp_path / PTH).unlink()
    load_model(tmp_path, config)


def test_a_changed_original_is_noticed(tmp_path, tensors, config):
    """Even of the same size."""
    save(tmp_path, tensors)
    load_model(tmp_path, config)
    save(tmp_path, tensors, **{"visual_encoder.norm.bias": torch.full((config.hidden_size,), 3.0)})
    assert (load_model(tmp_path, config).visual_encoder.norm.bias == 3).all()
    with safe_open(tmp_path / SAFETENSORS, "pt") as file:
        assert len(file.metadata()["source_sha256"]) == 64


@pytest.mark.parametrize("with_original", [True, False])
def test_a_damaged_conversion_is_named(tmp_path, tensors, config, with_original):
    save(tmp_path, tensors)
    load_model(tmp_path, config)
    (tmp_path / SAFETENSORS).write_bytes((tmp_path / SAFETENSORS).read_bytes()[:1000])
    if not with_original:
        (tmp_path / PTH).unlink()
    with pytest.raises(StageError, match=rf"{SAFETENSORS} cannot be read .*: delete it"):
        load_model(tmp_path, config)
