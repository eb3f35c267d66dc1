"""Adapters that others trained, in the layouts in which they are found: rank, alpha and layers are read by loading."""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from lab.errors import LabError
from lab.generation.adapter import adapter
from lab.generation.load import load_drawing
from lab.models.family import ATTENTION
from lab.models.load import load_transformer
from lab.models.published_adapter import WEIGHTS, describe_adapter
from lab.training.lora import add_lora, save_lora
from tests.published import make_checkpoint


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {name: make_checkpoint(name, folder / name) for name in ("sd35-medium", "flux-dev")}


def trained(base, folder, targets=None, rank=4, alpha=2):
    """An adapter as this project writes it: diffusers' layout, with metadata."""
    transformer = load_transformer(base)
    with torch.no_grad():
        for parameter in add_lora(transformer, rank, alpha, targets, seed=3):
            parameter.add_(0.1)
    save_lora(transformer, folder, {})
    return folder


def rewritten(folder, source, rename, metadata=None):
    """The same tensors under other names, without the metadata that says alpha."""
    folder.mkdir()
    tensors = {rename(key): value for key, value in load_file(source / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS, metadata=metadata)
    return folder


@pytest.mark.parametrize("name", ["sd35-medium", "flux-dev"])
def test_an_adapter_in_diffusers_layout_is_described(bases, tmp_path, name):
    found = describe_adapter(trained(bases[name], tmp_path / "lora"), bases[name], None)
    assert (found["rank"], found["alpha"], found["difference"]) == ([4], [4.0], None)
    assert "transformer_blocks.*.attn.to_q" in found["modules"]


def test_without_alpha_it_is_the_rank(bases, tmp_path):
    """As ai-toolkit writes: keys of peft, no alpha."""
    source = trained(bases["flux-dev"], tmp_path / "source")
    found = describe_adapter(rewritten(tmp_path / "lora", source, lambda key: key), bases["flux-dev"], None)
    assert (found["rank"], found["alpha"]) == ([4], [4.0])


def test_other_layers_are_one_sentence(bases, tmp_path):
    lora = trained(bases["flux-dev"], tmp_path / "lora", targets=["to_q", "proj_mlp"])
    found = describe_adapter(lora, bases["flux-dev"], ["to_q", "to_k"])
    assert found["difference"] == (
        "Against adapters trained here, it also adapts single_transformer_blocks.*.proj_mlp and it leaves out "
        "single_transformer_blocks.*.attn.to_k, transformer_blocks.*.attn.to_k."
    )


def kohya(key):
    """`transformer.single_transformer_blocks.0.proj_mlp.lora_A.weight` in the names of sd-scripts."""
    number = re.search(r"blocks\.(\d+)\.", key)[1]
    half = {"lora_A": "lora_down", "lora_B": "lora_up"}[key.split(".")[-2]]
    return f"lora_unet_double_blocks_{number}_img_attn_proj.{half}.weight"


def test_keys_of_sd_scripts_are_read_and_loaded(bases, tmp_path):
    source = trained(bases["flux-dev"], tmp_path / "source", targets=["to_out.0"])
    lora = rewritten(tmp_path / "lora", source, kohya)
    found = describe_adapter(lora, bases["flux-dev"], ATTENTION)
    assert (found["rank"], found["modules"]) == ([4], ["transformer_blocks.*.attn.to_out.0"])
    with adapter(load_drawing(bases["flux-dev"], "float32", "none"), lora) as name:
        assert name == "taca"


@pytest.mark.parametrize(
    ("of", "base", "reason"),
    [("flux-dev", "sd35-medium", "the base has no layer"), ("sd35-medium", "flux-dev", "size mismatch|the base has no")],
)
def test_an_adapter_of_another_family_is_refused(bases, tmp_path, of, base, reason):
    with pytest.raises(LabError, match=f"The adapter lora does not fit the base {base}: .*({reason})"):
        describe_adapter(trained(bases[of], tmp_path / "lora"), bases[base], None)


def test_an_adapter_of_text_encoders_is_refused(bases, tmp_path):
    """They are gone when images are drawn, so that part of it would be ignored."""
    source = trained(bases["sd35-medium"], tmp_path / "source")
    lora = rewritten(tmp_path / "lora", source, lambda key: key.replace("transformer.", "text_encoder.", 1))
    with pytest.raises(LabError, match="does not fit the base"):
        describe_adapter(lora, bases["sd35-medium"], None)


def test_a_layout_that_the_pipeline_does_not_take_is_refused(bases, tmp_path):
    (tmp_path / "lora").mkdir()
    save_file({"weight": torch.zeros(2, 2)}, tmp_path / "lora" / WEIGHTS)
    with pytest.raises(LabError, match=r"StableDiffusion3Pipeline\.load_lora_weights refuses it"):
        describe_adapter(tmp_path / "lora", bases["sd35-medium"], None)
