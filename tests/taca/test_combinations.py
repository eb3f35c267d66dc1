"""What TACA works with besides the stock model, and what it refuses."""

import re

import pytest
import tiny_pipelines
import torch
from accelerate import dispatch_model
from diffusers import (
    FirstBlockCacheConfig,
    Flux2KleinKVPipeline,
    PyramidAttentionBroadcastConfig,
    TaylorSeerCacheConfig,
)
from diffusers.hooks import apply_first_block_cache, apply_pyramid_attention_broadcast, apply_taylorseer_cache
from diffusers.models import attention_dispatch as dispatch
from diffusers.models.attention_dispatch import attention_backend
from diffusers.models.attention_processor import (
    AttnProcessor2_0,
    PAGCFGJointAttnProcessor2_0,
    PAGJointAttnProcessor2_0,
    SD3IPAdapterJointAttnProcessor2_0,
    XFormersJointAttnProcessor,
)
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor, FluxIPAdapterAttnProcessor
from diffusers.models.transformers.transformer_flux2 import Flux2KVAttnProcessor
from peft import LoraConfig
from tiny_families import CASES as FAMILIES
from tiny_families import TEXT_TOKENS
from tiny_models import CASES, explicit_taca, predict
from tiny_sd3 import relative_error
from torch._subclasses.fake_tensor import FakeTensorMode

from taca import TacaConfig, apply_taca, taca
from taca.tokens import InTurn

CONFIG = TacaConfig(gamma=1.2, threshold=970.0)
DISPATCHED = [case for case in CASES if case.name in ("flux", "flux2", "qwenimage", "hunyuanvideo")]


def runs_here(backend: dispatch.AttentionBackendName) -> bool:
    """Whether this machine has the kernel; the ones that would be fetched from a hub are left out."""
    if backend.value.endswith("_hub") or backend not in dispatch._AttentionBackendRegistry._backends:
        return False
    query = torch.ones(1, 4, 2, 8, dtype=torch.bfloat16)
    try:
        dispatch.dispatch_attention_fn(query, query, query, backend=backend)
    except Exception:
        return False
    return True


BACKENDS = [backend for backend in dispatch.AttentionBackendName if runs_here(backend)]


def test_the_machine_has_more_backends_than_one():
    assert {"native", "_native_math", "_native_flash", "flex"} <= {backend.value for backend in BACKENDS}


@pytest.mark.parametrize("case", DISPATCHED, ids=lambda case: case.name)
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.value)
@torch.no_grad()
def test_the_chosen_attention_backend_is_used(case, backend, monkeypatch):
    """Set on the model before or after TACA, or by the context manager; and it computes the same."""
    if "flash" in backend.value and case.padded:
        with (
            attention_backend(backend.value),
            taca(case.model(), CONFIG) as model,
            pytest.raises(ValueError, match="`attn_mask` is not supported"),
        ):
            predict(model, case.inputs([980.0]))
        return
    # The flash kernels take 16 bits, and no mask.
    dtype = torch.bfloat16 if "flash" in backend.value else torch.float32
    model, arguments = case.model().to(dtype), case.inputs([980.0], dtype)
    with taca(model, CONFIG):
        expected = predict(model, arguments).float()
    registry = dispatch._AttentionBackendRegistry._backends
    calls, original = [], registry[backend]
    monkeypatch.setitem(registry, backend, lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs))
    tolerance = torch.finfo(dtype).eps * 16
    with attention_backend(backend.value), taca(model, CONFIG):
        assert relative_error(predict(model, arguments).float(), expected) <= tolerance
    by_context = len(calls)
    # `set_attention_backend` changes the process's default too; the context manager gives it back.
    with attention_backend("native"), taca(model, CONFIG):
        model.set_attention_backend(backend.value)
        assert relative_error(predict(model, arguments).float(), expected) <= tolerance
    sites = sum(hasattr(type(p), "_attention_backend") for p in model.attn_processors.values())
    # Two calls for each joint attention.
    assert by_context == 2 * sites
    assert len(calls) - by_context == 2 * sites


@pytest.mark.parametrize("case", [c for c in CASES if c.name in ("sd3.5", "cogvideox")], ids=lambda c: c.name)
@torch.no_grad()
def test_sd3_and_cogvideox_ignore_the_choice_as_diffusers_does(case, monkeypatch):
    model, arguments = case.model(), case.inputs([980.0])
    with taca(model, CONFIG):
        expected = predict(model, arguments)
    monkeypatch.setitem(dispatch._AttentionBackendRegistry._backends, dispatch.AttentionBackendName.FLEX, None)
    with attention_backend("flex"), taca(model, CONFIG):
        assert torch.equal(predict(model, arguments), expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("level", ["block_level", "leaf_level"])
@torch.no_grad()
def test_group_offloading_computes_the_same(case, level):
    """Its hooks, that is: without a GPU there is nowhere to take the weights to."""
    model, arguments = case.model(), [case.inputs([t]) for t in (980.0, 500.0)]
    with taca(model, CONFIG):
        expected = [predict(model, x) for x in arguments]
        blocks = {"num_blocks_per_group": 1} if level == "block_level" else {}
        cpu = torch.device("cpu")
        model.enable_group_offload(onload_device=cpu, offload_device=cpu, offload_type=level, **blocks)
        for x, other in zip(arguments, expected, strict=True):
            assert torch.equal(predict(model, x), other)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@torch.no_grad()
def test_hooks_of_a_device_map_keep_working(case):
    model, arguments = case.model(), case.inputs([980.0, 980.0])
    with taca(model, CONFIG):
        expected = predict(model, arguments)
        dispatch_model(model, {"": "cpu"}, force_hooks=True)
        assert torch.equal(predict(model, arguments), expected)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("sd3.5", "flux")], ids=lambda case: case.name)
@torch.no_grad()
def test_several_adapters_with_weights_and_a_scale_act_as_without(case):
    """The logits that they make are scaled, and no others."""
    model, arguments = case.model(), case.inputs([980.0, 980.0], torch.float64)
    for name in ("one", "other"):
        model.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_k"]), name)
    model.double().set_adapters(["one", "other"], [0.5, 0.8])
    scaled = arguments | {"joint_attention_kwargs": {"scale": 0.5}}
    with explicit_taca(case, 1.2):
        expected = predict(model, scaled)
    with taca(model, CONFIG):
        assert relative_error(predict(model, scaled), expected) <= 1e-12
        assert relative_error(predict(model, arguments), expected) > 1e-6


@torch.no_grad()
def test_an_applied_model_is_saved_as_the_stock_one(tmp_path):
    case = next(case for case in CASES if case.name == "flux")
    model, arguments = case.model(), case.inputs([980.0])
    stock = predict(model, arguments)
    with taca(model, CONFIG):
        predict(model, arguments)
        model.save_pretrained(tmp_path)
    saved = type(model).from_pretrained(tmp_path)
    assert saved.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in saved.state_dict().items())
    torch.testing.assert_close(predict(saved, arguments), stock)  # weights mapped from a file lie otherwise in memory


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@torch.no_grad()
def test_layerwise_casting_keeps_working(case):
    """Weights stored in float8, computed with in bfloat16."""
    model, arguments = case.model().bfloat16(), case.inputs([980.0], torch.bfloat16)
    with taca(model, CONFIG):
        expected = predict(model, arguments)
        model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
        actual = predict(model, arguments)
    stock = predict(model, arguments)
    assert actual.isfinite().all()
    assert not torch.equal(actual, stock)
    assert relative_error(actual.float(), expected.float()) < 0.5


@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("flux", "qwenimage")], ids=lambda c: c.name)
@torch.no_grad()
def test_output_caches_are_refused_before_and_after(case):
    """They would replay a step with gamma in one without."""
    model = case.model()
    model.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    with pytest.raises(ValueError, match="FirstBlockCacheConfig keeps parts"):
        apply_taca(model, CONFIG)
    model.disable_cache()
    with taca(model, CONFIG):
        model.enable_cache(FirstBlockCacheConfig(threshold=0.1))
        with pytest.raises(ValueError, match="disable_cache"):
            predict(model, case.inputs([980.0]))


def pyramid(model):
    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
    )
    apply_pyramid_attention_broadcast(model, config)


@pytest.mark.parametrize(
    ("name", "cache", "hook"),
    [
        (
            "sd3.5",
            lambda model: apply_first_block_cache(model, FirstBlockCacheConfig(threshold=0.1)),
            "FBCHeadBlockHook",
        ),
        ("flux", lambda model: apply_taylorseer_cache(model, TaylorSeerCacheConfig()), "TaylorSeerCacheHook"),
        ("cogvideox", pyramid, "PyramidAttentionBroadcastHook"),
    ],
)
def test_caches_put_there_without_enable_cache_are_refused_too(name, cache, hook):
    model = next(case for case in CASES if case.name == name).model()
    cache(model)
    with pytest.raises(ValueError, match=f"{hook} keeps parts"):
        apply_taca(model, CONFIG)


def ip_adapter(model, name: str) -> dict:
    """The model's processors with the IP adapter's in the place of a block's."""
    key = "transformer_blocks.0.attn.processor"
    if name == "flux":
        processor = FluxIPAdapterAttnProcessor(hidden_size=16, cross_attention_dim=12, num_tokens=(4,))
    else:
        processor = SD3IPAdapterJointAttnProcessor2_0(hidden_size=16, ip_hidden_states_dim=12, head_dim=8)
    return {**model.attn_processors, key: processor}


@pytest.mark.parametrize("name", ["flux", "sd3.5"])
@torch.no_grad()
def test_ip_adapters_are_refused_before_and_after(name):
    """Their trained processors would be lost."""
    case = next(case for case in CASES if case.name == name)
    model, adapted = case.model(), case.model()
    adapted.set_attn_processor(ip_adapter(adapted, name))
    processors = adapted.attn_processors
    with pytest.raises(ValueError, match=r"not support (Flux|SD3)IPAdapter.*: call `unload_ip_adapter\(\)`"):
        apply_taca(adapted, CONFIG)
    assert adapted.attn_processors == processors
    with taca(model, CONFIG):
        model.set_attn_processor(ip_adapter(model, name))
        with pytest.raises(ValueError, match="unload_ip_adapter"):
            predict(model, case.inputs([980.0]))


class Own(FluxAttnProcessor):
    """A processor that somebody wrote."""


@pytest.mark.parametrize(
    ("name", "processor", "sentence"),
    [
        ("flux2", Flux2KVAttnProcessor, "Flux2KVAttnProcessor, which it found: draw without TACA"),
        ("sd3.5", PAGJointAttnProcessor2_0, "PAGJointAttnProcessor2_0, which it found: draw without TACA"),
        ("sd3.5", PAGCFGJointAttnProcessor2_0, "PAGCFGJointAttnProcessor2_0, which it found: draw without TACA"),
        (
            "sd3.5",
            XFormersJointAttnProcessor,
            "XFormersJointAttnProcessor, which it found: put the stock processor back",
        ),
        ("sd3.5", AttnProcessor2_0, "AttnProcessor2_0, which it found: put the stock processor back"),
        ("flux", Own, "Own, which it found: put the stock processor back with `set_attn_processor`"),
    ],
)
@torch.no_grad()
def test_a_processor_that_is_not_supported_is_named(name, processor, sentence):
    """Where diffusers' own pipeline relies on it, to put the stock one back would draw wrongly."""
    case = next(case for case in CASES if case.name == name)
    model = case.model()
    model.transformer_blocks[0].attn.set_processor(processor())
    with pytest.raises(ValueError, match=re.escape(sentence)):
        apply_taca(model, CONFIG)


@torch.no_grad()
def test_a_pipeline_that_caches_keys_is_refused_as_it_comes():
    model = next(case for case in CASES if case.name == "flux2").model()
    pipe = tiny_pipelines.pipeline(Flux2KleinKVPipeline, model)
    with pytest.raises(ValueError, match=r"does not support Flux2KV\w+, which it found: draw without TACA"):
        apply_taca(pipe, CONFIG)


@torch.no_grad()
def test_what_is_made_under_inference_mode_serves_a_training_pass_too():
    case = next(case for case in CASES if case.name == "sd3.5")
    model, arguments = case.model(), case.inputs([980.0])
    with taca(model, CONFIG):
        with torch.inference_mode():
            expected = predict(model, arguments).clone()
        with torch.enable_grad():
            actual = predict(model, arguments)
            actual.sum().backward()
    torch.testing.assert_close(actual.detach(), expected)


@pytest.mark.parametrize("case", [case for case in FAMILIES if case.name in ("lumina2", "zimage", "omnigen", "mochi")])
def test_blocks_may_be_on_another_gpu_than_the_latents(case):
    """As a device map puts them; nothing is computed, but tensors of two devices do not mix."""
    model, arguments = case.model(), case.inputs([980.0, 980.0], torch.float32)
    apply_taca(model, CONFIG)
    hook, attended = model._taca_hook, []
    tokens = hook.family.tokens(model, arguments)
    with FakeTensorMode(allow_non_fake_inputs=True):
        length = tokens.is_text.shape[1] if hasattr(tokens, "is_text") else 32 + TEXT_TOKENS
        query = torch.empty(2, 2, length, 8, device="cuda:1")
        mask = torch.ones(2, 1, length, length, dtype=torch.bool, device="cuda:1")

        def attention(query, key, value, mask):
            attended.append({x.device for x in (query, key, value, mask)})
            return torch.empty_like(query)

        if isinstance(tokens, InTurn):
            query, mask = query[:1], mask[:1]
        read = tokens.attend(attention, query, query, query, mask, torch.ones(2, 1, 1, 1), 2)
    assert read.device == torch.device("cuda:1")
    assert all(devices == {torch.device("cuda:1")} for devices in attended)
