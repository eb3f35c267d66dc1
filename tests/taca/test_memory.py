"""What TACA keeps in memory, by PyTorch's own account of what the CPU allocates."""

import json

import pytest
import torch
from tiny_models import CASES, predict
from torch.profiler import ProfilerActivity, profile

from taca import TacaConfig, taca
from taca.families import attention_modules, family_of

# One sample of a FLUX and of an SD3.5 with so many tokens that attention's own tensors outweigh the rest.
IMAGE_TOKENS, TEXT_TOKENS, WIDTH, LAYERS = 1024, 128, 32, 3
KEYS = (IMAGE_TOKENS + TEXT_TOKENS) * WIDTH * 4  # bytes of one layer's keys, or of one attention's output
SLACK = KEYS // 20


def memory(run, path) -> tuple[int, int]:
    """Bytes allocated at most during `run`, and at its end; its result is kept until then."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        kept = run()
    profiled.export_chrome_trace(str(path))
    events = [e for e in json.loads(path.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    events.sort(key=lambda event: event["ts"])
    totals = [event["args"]["Total Allocated"] for event in events]
    before = totals[0] - events[0]["args"]["Bytes"]
    del kept
    return max(totals) - before, totals[-1] - before


def flux() -> tuple[torch.nn.Module, dict]:
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(0)
    model = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=LAYERS,
        num_single_layers=0,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=12,
        pooled_projection_dim=10,
        axes_dims_rope=(8, 4, 4),
    )
    return model, {
        "hidden_states": torch.randn(1, IMAGE_TOKENS, 4),
        "encoder_hidden_states": torch.randn(1, TEXT_TOKENS, 12),
        "pooled_projections": torch.randn(1, 10),
        "img_ids": torch.zeros(IMAGE_TOKENS, 3),
        "txt_ids": torch.zeros(TEXT_TOKENS, 3),
        "timestep": torch.tensor([0.99]),
    }


def sd3() -> tuple[torch.nn.Module, dict]:
    from tiny_sd3 import transformer

    model = transformer(sample_size=64, attention_head_dim=16, caption_projection_dim=WIDTH, pos_embed_max_size=32)
    return model, {
        "hidden_states": torch.randn(1, 4, 64, 64),
        "encoder_hidden_states": torch.randn(1, TEXT_TOKENS, 12),
        "pooled_projections": torch.randn(1, 10),
        "timestep": torch.tensor([990.0]),
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@torch.no_grad()
def test_inference_takes_one_layers_keys_and_one_attention_output_more_at_most(case, tmp_path):
    """Of one attention alone: elsewhere in a block more is allocated, with TACA and without."""
    model, arguments = case.model(), case.inputs([980.0])
    attn = next(iter(attention_modules(model, family_of(model))))
    given, processors = [], []
    attn.register_forward_pre_hook(lambda *call: given.append(call[1:]), with_kwargs=True)
    attn.register_forward_pre_hook(lambda attn, *_: processors.append(attn.processor))
    with taca(model, TacaConfig()):
        predict(model, arguments)
    args, kwargs = given[0]
    stock, _ = memory(lambda: attn(*args, **kwargs), tmp_path / "stock.json")
    attn.set_processor(processors[0])
    ours, _ = memory(lambda: attn(*args, **kwargs), tmp_path / "ours.json")
    keys = len(case.is_text) * 16 * 4
    assert ours > 0
    assert ours - stock <= 2 * keys


@pytest.mark.parametrize("build", [flux, sd3], ids=["flux", "sd3.5"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_keeps_one_copy_of_the_keys_a_layer_and_none_with_checkpointing(build, checkpointing, tmp_path):
    model, arguments = build()
    model.train()
    if checkpointing:
        model.enable_gradient_checkpointing()
    model(**arguments)  # what the first pass alone allocates
    _, stock = memory(lambda: model(**arguments), tmp_path / "stock.json")
    with taca(model, TacaConfig()):
        _, ours = memory(lambda: model(**arguments), tmp_path / "ours.json")
    assert stock > 0
    assert ours - stock <= (SLACK if checkpointing else LAYERS * (KEYS + SLACK))
