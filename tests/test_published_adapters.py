"""LoRA files in the published layout (diffusers' keys): loaded by the pipeline, hot-swapped, fused, under TACA."""

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from tiny_sd3 import draw, inputs, pipeline, predict, relative_error, transformer

from taca import TacaConfig, taca

NAMES = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


def published(folder, seed: int):
    """A random adapter as `save_lora_weights` of the pipeline writes it: `transformer.<module>.lora_A.weight`."""
    model = transformer()
    torch.manual_seed(seed)
    model.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=list(NAMES)))
    weights = {f"transformer.{key}": value for key, value in get_peft_model_state_dict(model).items()}
    folder.mkdir()
    save_file(weights, folder / "pytorch_lora_weights.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def files(tmp_path):
    return [published(tmp_path / name, seed) for seed, name in enumerate(("one", "two"))]


@torch.no_grad()
def test_a_pipeline_with_an_early_adapter_draws_the_same_twice(files):
    """The second image is treated as the first was; the base is back afterwards."""
    pipe = pipeline(transformer())
    stock = draw(pipe, steps=6)
    pipe.load_lora_weights(str(files[0]), adapter_name="taca")
    throughout = draw(pipe, steps=6)
    with taca(pipe, TacaConfig(gamma=1.2, adapter="taca")):
        first, second = draw(pipe, steps=6), draw(pipe, steps=6)
    pipe.unload_lora_weights()
    assert torch.equal(first, second)
    assert not torch.equal(first, throughout)
    assert torch.equal(draw(pipe, steps=6), stock)


@torch.no_grad()
def test_hot_swapped_weights_are_used(files):
    """Another file in the place of the first, while TACA is applied."""
    pipe, arguments = pipeline(transformer()), inputs([980.0])
    pipe.load_lora_weights(str(files[1]), adapter_name="taca")
    with taca(pipe, TacaConfig(adapter="taca")):
        expected = predict(pipe.transformer, arguments)
    pipe.unload_lora_weights()
    pipe.load_lora_weights(str(files[0]), adapter_name="taca")
    with taca(pipe, TacaConfig(adapter="taca")):
        assert not torch.equal(predict(pipe.transformer, arguments), expected)
        pipe.load_lora_weights(str(files[1]), adapter_name="taca", hotswap=True)
        assert torch.equal(predict(pipe.transformer, arguments), expected)


@torch.no_grad()
def test_a_fused_adapter_computes_what_the_attached_one_does(files):
    pipe, arguments = pipeline(transformer()), inputs([980.0, 400.0])
    pipe.load_lora_weights(str(files[0]), adapter_name="taca")
    with taca(pipe, TacaConfig()):
        attached = predict(pipe.transformer, arguments)
        pipe.fuse_lora(adapter_names=["taca"])
        assert relative_error(predict(pipe.transformer, arguments), attached) < 1e-5
