"""Transformers inside of what people put around them, and training in a precision that a CPU has no use for."""

import pytest
import torch
from accelerate import Accelerator
from diffusers import PixArtTransformer2DModel
from peft import LoraConfig, LoraModel, get_peft_model
from tiny_models import CASES
from tiny_sd3 import draw, inputs, pipeline, predict, transformer
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from taca import TacaConfig, apply_taca, remove_taca, taca

CONFIG = TacaConfig(gamma=2.0)
ACTIVE, INACTIVE = inputs([980.0, 980.0]), inputs([960.0, 960.0])


@pytest.fixture(scope="module", autouse=True)
def group(tmp_path_factory):
    """One process that is a group of its own."""
    store = tmp_path_factory.mktemp("group") / "store"
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


WRAPPERS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "ddp": DistributedDataParallel,
    "ddp of compiled": lambda model: DistributedDataParallel(torch.compile(model, backend="eager")),
    "data parallel on one device": DataParallel,
    "peft": lambda model: get_peft_model(model, LoraConfig(r=2, target_modules=["to_q"])),
    "ddp of peft": lambda model: DistributedDataParallel(
        get_peft_model(model, LoraConfig(r=2, target_modules=["to_q"]))
    ),
    "accelerate": lambda model: Accelerator(cpu=True).prepare(model),
    "fsdp": lambda model: FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True),
    "fsdp2": lambda model: fully_shard(model, mesh=torch.distributed.device_mesh.init_device_mesh("cpu", (1,))),
    "checkpointed": checkpoint_wrapper,
    "moving average": AveragedModel,
}


# Compiling takes seconds, and "compiled" has both cases by itself.
SLOW = ("ddp of compiled", False)
CASES_OF_WRAPPERS = [
    pytest.param(name, ran_before, marks=[pytest.mark.slow] if (name, ran_before) == SLOW else [])
    for name in WRAPPERS
    for ran_before in (True, False)
]


@pytest.mark.long
@pytest.mark.parametrize(("name", "ran_before"), CASES_OF_WRAPPERS)
@torch.no_grad()
def test_a_wrapped_transformer_is_taken(name, ran_before):
    """It computes what the bare one does under TACA, before, inside and after; also where it is already compiled."""
    torch._dynamo.reset()
    bare = transformer(num_layers=1)
    stock, inactive = predict(bare, ACTIVE), predict(bare, INACTIVE)
    with taca(bare, CONFIG):
        expected = predict(bare, ACTIVE)
    model = WRAPPERS[name](transformer(num_layers=1))
    if ran_before:
        torch.testing.assert_close(predict(model, ACTIVE), stock)
    with taca(model, CONFIG):
        torch.testing.assert_close(predict(model, ACTIVE), expected)
        torch.testing.assert_close(predict(model, INACTIVE), inactive)
    torch.testing.assert_close(predict(model, ACTIVE), stock)
    assert not torch.allclose(stock, expected, atol=1e-3)


def test_wrapped_after_taca_it_is_still_the_same():
    """Applied to what is inside, removed by what is around, and the other way."""
    model = transformer()
    apply_taca(model, CONFIG)
    wrapped = torch.compile(DistributedDataParallel(model))
    with pytest.raises(ValueError, match="already applied to this SD3Transformer2DModel"):
        apply_taca(wrapped, CONFIG)
    remove_taca(wrapped)
    apply_taca(wrapped, CONFIG)
    remove_taca(model)


def test_a_pipeline_around_a_wrapped_transformer_is_taken():
    pipe = pipeline(transformer())
    with taca(pipe, CONFIG):
        expected = draw(pipe, 3)
    pipe.transformer = get_peft_model(pipe.transformer, LoraConfig(r=2, target_modules=["to_q"]))
    with taca(pipe, CONFIG):
        torch.testing.assert_close(draw(pipe, 3), expected)


def test_gradients_pass_through_a_wrapper():
    """Those of a transformer under DistributedDataParallel are the bare one's."""

    def gradient(model, weight):
        with taca(model, CONFIG):
            return torch.autograd.grad(predict(model, ACTIVE).square().sum(), weight)[0]

    bare, model = transformer(), transformer()
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    expected = gradient(bare, bare.transformer_blocks[0].attn.to_k.weight)
    torch.testing.assert_close(gradient(wrapped, model.transformer_blocks[0].attn.to_k.weight), expected)


def test_an_unknown_transformer_in_a_wrapper_is_refused_by_its_own_name():
    model = PixArtTransformer2DModel(
        num_layers=1, num_attention_heads=1, attention_head_dim=8, norm_num_groups=4, sample_size=8
    )
    with pytest.raises(ValueError, match="PixArtTransformer2DModel reads the prompt by cross-attention"):
        apply_taca(torch.compile(model), CONFIG)


@pytest.mark.parametrize(
    "wrap",
    [lambda model, lora: LoraModel(model, lora, "mine"), lambda model, lora: get_peft_model(model, lora, mixed=True)],
)
def test_a_wrapper_that_calls_past_hooks_is_refused(wrap):
    model = wrap(transformer(num_layers=1), LoraConfig(r=2, target_modules=["to_q"]))
    with pytest.raises(ValueError, match=r"calls its transformer past the hooks.*pass a PeftModel"):
        apply_taca(model, CONFIG)


@torch.no_grad()
def test_copies_of_data_parallel_are_refused():
    """They have their own attention modules, which TACA would leave as they are."""
    model = transformer()
    apply_taca(model, CONFIG)
    with pytest.raises(ValueError, match="DistributedDataParallel, or one GPU"):
        predict(model._replicate_for_data_parallel(), ACTIVE)


@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_training_in_float16_on_a_cpu_is_refused(case, autocast):
    """Under TACA, where gradients are recorded; drawing is not refused."""
    dtype = torch.float32 if autocast else torch.float16
    model, arguments = case.model().to(dtype), case.inputs([980.0, 980.0], dtype)
    with torch.autocast("cpu", torch.float16, enabled=autocast), taca(model, CONFIG):
        with pytest.raises(ValueError, match=r"float16 on a CPU.*train in bfloat16 or float32"):
            predict(model, arguments)
        with torch.no_grad():
            assert predict(model, arguments).isfinite().all()
