"""LoRA files in the published layout (diffusers' keys): loaded by the pipeline, hot-swapped, fused, under TACA."""

import re

import pytest
import tiny_pipelines
import tiny_sd3
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from tiny_models import CASES, predict
from tiny_sd3 import relative_error

from taca import TacaConfig, taca


class Sd3:
    """Adapters on the attention of every block."""

    layers = r"transformer_blocks\..*\.attn\..*"
    case = next(case for case in CASES if case.name == "sd3.5")

    @staticmethod
    def pipeline():
        return tiny_sd3.pipeline(tiny_sd3.transformer())

    draw = staticmethod(tiny_sd3.draw)


class Flux:
    """Adapters on every linear layer of the double and single blocks, as trainers of FLUX write them."""

    layers = r"(single_)?transformer_blocks\..*"
    case = next(case for case in CASES if case.name == "flux")

    @staticmethod
    def pipeline():
        return tiny_pipelines.flux()

    draw = staticmethod(tiny_pipelines.draw)


@pytest.fixture(params=[Sd3, Flux], ids=["sd3.5", "flux"])
def family(request):
    return request.param


def published(folder, family, seed: int):
    """A random adapter as `save_lora_weights` of the pipeline writes it: `transformer.<module>.lora_A.weight`."""
    model = family.pipeline().transformer
    torch.manual_seed(seed)
    linear = (name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    targets = [name for name in linear if re.fullmatch(family.layers, name)]
    model.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=targets))
    weights = {f"transformer.{key}": value for key, value in get_peft_model_state_dict(model).items()}
    folder.mkdir()
    save_file(weights, folder / "pytorch_lora_weights.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def files(tmp_path, family):
    return [published(tmp_path / name, family, seed) for seed, name in enumerate(("one", "two"))]


def arguments_for(pipe, family, timesteps: list[float]) -> dict:
    arguments = family.case.inputs(timesteps)
    if family is Flux:
        arguments["hidden_states"] = arguments["hidden_states"].repeat(1, 1, 4)
    return arguments


def test_the_layout_covers_double_and_single_blocks(files, family):
    from safetensors import safe_open

    with safe_open(files[0] / "pytorch_lora_weights.safetensors", "pt") as file:
        keys = set(file.keys())
    assert "transformer.transformer_blocks.0.attn.add_k_proj.lora_B.weight" in keys
    assert ("transformer.single_transformer_blocks.1.attn.to_q.lora_A.weight" in keys) == (family is Flux)


@pytest.mark.long
@torch.no_grad()
def test_a_pipeline_with_an_early_adapter_draws_the_same_twice(files, family):
    """The second image is treated as the first was; the base is back afterwards."""
    pipe = family.pipeline()
    stock = family.draw(pipe, steps=6)
    pipe.load_lora_weights(str(files[0]), adapter_name="taca")
    throughout = family.draw(pipe, steps=6)
    with taca(pipe, TacaConfig(gamma=1.2, adapter="taca")):
        first, second = family.draw(pipe, steps=6), family.draw(pipe, steps=6)
    pipe.unload_lora_weights()
    assert torch.equal(first, second)
    assert not torch.equal(first, throughout)
    assert torch.equal(family.draw(pipe, steps=6), stock)


@torch.no_grad()
def test_hot_swapped_weights_are_used(files, family):
    """Another file in the place of the first, while TACA is applied."""
    pipe = family.pipeline()
    arguments = arguments_for(pipe, family, [980.0])
    pipe.load_lora_weights(str(files[1]), adapter_name="taca")
    with taca(pipe.transformer, TacaConfig(adapter="taca")):
        expected = predict(pipe.transformer, arguments)
    pipe.unload_lora_weights()
    pipe.load_lora_weights(str(files[0]), adapter_name="taca")
    with taca(pipe.transformer, TacaConfig(adapter="taca")):
        assert not torch.equal(predict(pipe.transformer, arguments), expected)
        pipe.load_lora_weights(str(files[1]), adapter_name="taca", hotswap=True)
        assert torch.equal(predict(pipe.transformer, arguments), expected)


@torch.no_grad()
def test_a_fused_adapter_computes_what_the_attached_one_does(files, family):
    pipe = family.pipeline()
    arguments = arguments_for(pipe, family, [980.0, 400.0])
    pipe.load_lora_weights(str(files[0]), adapter_name="taca")
    with taca(pipe.transformer, TacaConfig()):
        attached = predict(pipe.transformer, arguments)
        pipe.fuse_lora(adapter_names=["taca"])
        assert relative_error(predict(pipe.transformer, arguments), attached) < 1e-5
