"""Adapters: what is trained, what is saved, and who can load it."""

import json

import pytest
import torch
from safetensors.torch import load_file

from lab.errors import LabError
from lab.models.load import load_transformer
from lab.training.lora import WEIGHTS, add_lora, read_metadata, save_lora
from tests.tiny_base import tiny_base
from tests.tiny_flux import tiny_flux

FACTS = {"taca.gamma": "1.2", "taca.threshold": "970.0", "taca.rank": "4", "taca.base_md5": "abc"}


def trained(rank: int = 4, alpha: float = 4):
    """A tiny transformer with an adapter whose update is not zero."""
    transformer = load_transformer(tiny_base())
    parameters = add_lora(transformer, rank, alpha, None, seed=3)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.05 * torch.randn_like(parameter))
    return transformer, parameters


def inputs(transformer, batch: int = 2) -> dict:
    config = transformer.config
    generator = torch.Generator().manual_seed(0)
    shape = (batch, config.in_channels, config.sample_size, config.sample_size)
    return {
        "hidden_states": torch.randn(shape, generator=generator),
        "timestep": torch.full((batch,), 990.0),
        "encoder_hidden_states": torch.randn(batch, 25, config.joint_attention_dim, generator=generator),
        "pooled_projections": torch.randn(batch, config.pooled_projection_dim, generator=generator),
        "return_dict": False,
    }


def test_only_the_attention_projections_are_trained():
    """Everything else stays frozen, and a new adapter changes nothing."""
    plain = load_transformer(tiny_base())
    adapted = load_transformer(tiny_base())
    parameters = add_lora(adapted, 4, 4, None, seed=3)
    names = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert len(names) == len(parameters) > 0
    assert all(".attn" in name and "lora_" in name for name in names)
    assert torch.equal(adapted(**inputs(adapted))[0], plain(**inputs(plain))[0])


def test_equal_seeds_draw_equal_adapters():
    """The initial A matrices depend on the seed alone."""
    first, second = (add_lora(load_transformer(tiny_base()), 4, 4, None, seed=3) for _ in range(2))
    torch.manual_seed(99)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_plain_load_lora_weights_gives_the_trained_model(tmp_path):
    """A pipeline that knows nothing of taca loads the file and computes what was trained, alpha / rank included."""
    from diffusers import StableDiffusion3Pipeline

    transformer, _ = trained(rank=4, alpha=8)
    save_lora(transformer, tmp_path, FACTS)
    pipe = StableDiffusion3Pipeline.from_pretrained(tiny_base())
    before = pipe.transformer(**inputs(transformer))[0]
    pipe.load_lora_weights(tmp_path)
    with torch.no_grad():
        loaded, expected = (model(**inputs(model))[0] for model in (pipe.transformer, transformer))
    torch.testing.assert_close(loaded, expected, rtol=0, atol=1e-6)
    assert not torch.allclose(loaded, before, atol=1e-4)


def test_plain_load_lora_weights_takes_flux_adapters_too(tmp_path):
    """In FLUX.1's own pipeline, on both kinds of block, the same numbers as were trained; the file is float32."""
    from diffusers import FluxPipeline

    transformer = load_transformer(tiny_flux(), torch.bfloat16)
    parameters = add_lora(transformer, 4, 8, None, seed=3)
    assert {parameter.dtype for parameter in parameters} == {torch.float32}
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_lora(transformer, tmp_path, FACTS)
    saved = load_file(tmp_path / WEIGHTS)
    assert {value.dtype for value in saved.values()} == {torch.float32}
    pipe = FluxPipeline.from_pretrained(tiny_flux(), dtype=torch.float32)
    pipe.load_lora_weights(tmp_path)
    loaded = {name: value for name, value in pipe.transformer.named_parameters() if "lora_" in name}
    trained = {name: value for name, value in transformer.named_parameters() if "lora_" in name}
    assert loaded.keys() == {name.replace(".default.", ".default_0.") for name in trained}
    for name, value in trained.items():
        expected = 2.0 * value if ".lora_B." in name else value
        assert torch.equal(loaded[name.replace(".default.", ".default_0.")], expected)
    assert pipe.transformer.transformer_blocks[0].attn.to_q.scaling == {"default_0": 1.0}


def by_comfyui(weights: dict, layer: str) -> torch.Tensor:
    """A layer's update as ComfyUI adds it: alpha / rank where the file has an alpha, else B·A as it is."""
    up, down = weights[f"{layer}.lora_B.weight"], weights[f"{layer}.lora_A.weight"]
    alpha = weights.get(f"{layer}.alpha")
    return (1.0 if alpha is None else alpha.item() / len(down)) * (up @ down)


def by_kohya(weights: dict, layer: str) -> torch.Tensor:
    """As kohya's scripts merge it: an alpha that is missing is the rank."""
    up, down = weights[f"{layer}.lora_B.weight"], weights[f"{layer}.lora_A.weight"]
    alpha = weights.get(f"{layer}.alpha", torch.tensor(float(len(down))))
    return up @ down * (alpha / len(down))


@pytest.mark.parametrize("update", [by_comfyui, by_kohya])
def test_readers_that_know_no_alpha_merge_what_was_trained(update, tmp_path):
    """No key `.alpha`, which diffusers' loader for SD3 refuses: alpha / rank is in B, and alpha is the rank."""
    transformer, _ = trained(rank=4, alpha=8)
    save_lora(transformer, tmp_path, FACTS)
    weights = load_file(tmp_path / WEIGHTS)
    assert not any(name.endswith(".alpha") for name in weights)
    adapter = json.loads(read_metadata(tmp_path / WEIGHTS)["lora_adapter_metadata"])
    assert adapter["transformer.lora_alpha"] == adapter["transformer.r"] == 4

    merged = load_transformer(tiny_base())
    layers = {name.rpartition(".lora_")[0] for name in weights}
    with torch.no_grad():
        for layer in layers:
            merged.get_submodule(layer.removeprefix("transformer.")).weight += update(weights, layer)
        outputs = [model(**inputs(model))[0] for model in (merged, transformer)]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-5)


def test_an_adapter_of_alpha_equal_to_rank_is_saved_as_it_is(tmp_path):
    """Bit for bit."""
    transformer, _ = trained(rank=4, alpha=4)
    save_lora(transformer, tmp_path, FACTS)
    saved = load_file(tmp_path / WEIGHTS)
    own = {name: value for name, value in transformer.named_parameters() if "lora_" in name}
    assert all(
        torch.equal(saved["transformer." + name.replace(".default.", ".")], value) for name, value in own.items()
    )


@pytest.mark.parametrize("base", [tiny_base, tiny_flux])
def test_targets_that_match_no_layer_are_refused(base):
    """The first of them is named; others are taken by the ends of their names."""
    transformer = load_transformer(base())
    with pytest.raises(LabError, match=r"`train.targets` has 'to_z', which no layer of this \w+ is called"):
        add_lora(transformer, 4, 4, ["to_q", "to_z"], seed=3)
    add_lora(transformer, 4, 4, ["attn.to_q"], seed=3)
    names = [name for name, parameter in transformer.named_parameters() if parameter.requires_grad]
    assert names
    assert all(".attn.to_q." in name for name in names)


def test_the_file_carries_its_facts_and_the_same_bytes_twice(tmp_path):
    """Metadata is there, and its order does not change from save to save."""
    transformer, _ = trained()
    contents = set()
    for number in range(6):
        save_lora(transformer, tmp_path / str(number), FACTS)
        contents.add((tmp_path / str(number) / WEIGHTS).read_bytes())
    assert len(contents) == 1
    metadata = read_metadata(tmp_path / "0" / WEIGHTS)
    assert FACTS.items() <= metadata.items()
    assert len(load_file(tmp_path / "0" / WEIGHTS)) > 0


def test_a_rank_above_the_layers_width_is_refused():
    """The error says the rank and the width."""
    with pytest.raises(LabError, match="rank is 65, but a layer that it is for is 64 wide"):
        add_lora(load_transformer(tiny_base()), 65, 65, None, seed=3)
