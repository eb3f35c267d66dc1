"""Private names of torch, diffusers and peft that TACA relies on: when a release moves one, its sentence says so."""

import inspect

import pytest
import tiny_sd3
import torch
from diffusers import FirstBlockCacheConfig
from diffusers.hooks import HookRegistry, apply_first_block_cache
from diffusers.models import attention_dispatch
from diffusers.models._modeling_parallel import ContextParallelConfig
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from tiny_models import CASES
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

MOVED = "{} keeps {} elsewhere now: mend {}"


def tuned_layer():
    model = tiny_sd3.transformer()
    model.add_adapter(LoraConfig(r=2, target_modules=["to_q"]), adapter_name="mine")
    return next(module for module in model.modules() if isinstance(module, BaseTunerLayer))


def test_which_adapters_of_a_layer_are_on():
    """And its forward pass asks nothing else."""
    layer, x = tuned_layer(), torch.randn(1, 16)
    with torch.no_grad():
        layer.lora_B["mine"].weight.fill_(1.0)
        both = [(["mine"], False), ([], True)]
        outputs = []
        for layer._active_adapter, layer._disable_adapters in both:
            outputs.append(layer(x))
        plain = layer.base_layer(x)
    sentence = MOVED.format("peft", "which adapters are on", "taca.adapters.ScopedAdapter.switched")
    assert torch.equal(outputs[1], plain), sentence
    assert not torch.equal(outputs[0], plain), sentence
    assert layer.active_adapters == [], sentence


def test_where_an_output_cache_is_kept():
    model = next(case for case in CASES if case.name == "flux").model()
    model.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    sentence = MOVED.format("diffusers", "the configuration of `enable_cache`", "taca.combinations")
    assert isinstance(getattr(model, "_cache_config", None), FirstBlockCacheConfig), sentence


def test_where_hooks_are_kept():
    model = next(case for case in CASES if case.name == "flux").model()
    apply_first_block_cache(model, FirstBlockCacheConfig(threshold=0.1))
    kept = [vars(module).get("_diffusers_hook") for module in model.modules()]
    sentence = MOVED.format("diffusers", "its hooks", "taca.combinations")
    registries = [registry for registry in kept if registry is not None]
    assert registries, sentence
    assert all(isinstance(registry, HookRegistry) for registry in registries), sentence
    assert all(isinstance(registry.hooks, dict) for registry in registries), sentence


def test_where_the_backend_of_attention_is_kept():
    model = next(case for case in CASES if case.name == "flux").model()
    model.set_attention_backend("native")
    processor = next(iter(model.attn_processors.values()))
    sentence = MOVED.format("diffusers", "the attention backend", "taca.processors.base and taca.combinations")
    assert getattr(processor, "_attention_backend", None) == attention_dispatch.AttentionBackendName.NATIVE, sentence
    registry = getattr(attention_dispatch, "_AttentionBackendRegistry", None)
    assert registry is not None, sentence
    assert isinstance(registry.get_active_backend()[0], attention_dispatch.AttentionBackendName), sentence


def test_where_parallelism_is_kept():
    case = next(case for case in CASES if case.name == "flux")
    sentence = MOVED.format("diffusers", "the configuration of context parallelism", "taca.combinations and share_of")
    assert "_parallel_config" in inspect.getsource(type(case.model()).enable_parallelism), sentence
    assert "_flattened_mesh" in inspect.getsource(ContextParallelConfig), sentence


@pytest.mark.parametrize("name", ["sd3.5", "flux", "hunyuanvideo"])
def test_how_blocks_are_checkpointed(name):
    model = next(case for case in CASES if case.name == name).model()
    model.enable_gradient_checkpointing()
    sentence = MOVED.format("diffusers", "the function that checkpoints a block", "taca.processors.swap")
    assert callable(getattr(model, "_gradient_checkpointing_func", None)), sentence


def test_how_pytorch_wraps_a_block_that_it_checkpoints():
    block = torch.nn.Linear(1, 1)
    wrapper = checkpoint_wrapper(block)
    sentence = MOVED.format("torch", "the wrapper of a checkpointed block", "taca.processors.swap and taca.families")
    assert wrapper._modules == {"_checkpoint_wrapped_module": block}, sentence
    assert callable(getattr(wrapper, "checkpoint_fn", None)), sentence


def test_what_marks_the_copies_of_data_parallel():
    sentence = MOVED.format("torch", "the mark of a replica", "taca.combinations")
    assert getattr(torch.nn.Linear(1, 1)._replicate_for_data_parallel(), "_is_replica", False), sentence
