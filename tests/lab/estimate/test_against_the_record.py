"""Estimates from the meta device against the record of PyTorch's allocator, of the same work with real numbers.

Tiny checkpoints on this machine's CPU; blocks of the real size, forward and backward, on the GPU whose record
`benchmarks/results` has.
"""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.models import DTYPE, inputs, transformer
from lab.data.captioned import CaptionedImage
from lab.data.crops import sizes_for
from lab.data.encode import Encoder
from lab.data.encoded import KEYS, read_buckets
from lab.estimate import drawing, work
from lab.estimate.configs import in_folder
from lab.estimate.kernels import Kernels
from lab.estimate.meter import Meter
from lab.estimate.previews import preview
from lab.estimate.work import held
from lab.generation.load import load_drawing, load_text
from lab.models.load import load_encoders, part_config
from lab.params.sections import Adapter, Arm, Encode, Generate, Preview, Train
from lab.training.batches import Batches
from lab.training.frozen import load_frozen, recompute_blocks
from lab.training.loop import TrainConfig, Trainer
from lab.training.lora import add_lora, keep_inputs
from lab.training.preview import PreviewConfig, Previews, load_preview_pipeline, needs_empty_caption
from runtime.params import read_yaml
from taca.hooks import TacaConfig, taca
from tests.memory_record import peak_of
from tests.published import make_checkpoint

ROOT = Path(__file__).parents[3]
DEFAULTS = read_yaml(ROOT / "experiments/defaults.yaml")
RECORDED = json.loads((ROOT / "benchmarks/results/gpu-nvidia-h200.json").read_text())["step"]
NAMES = ("sd35-medium", "flux-dev")
ENCODE = Encode(
    **{**DEFAULTS["encode"], "batch_size": 4, "max_sequence_length": 32, "dtype": "bfloat16", "resolution": 64}
)
TRAIN = Train(**{**DEFAULTS["train"], "batch_size": 8, "precision": "bf16", "mixed_precision": "bf16"})
# In float32: of 16 bits, this processor's matrix products make copies of their own.
GENERATE = Generate(
    **{
        **DEFAULTS["generate"],
        "batch_size": 4,
        "max_sequence_length": 32,
        "height": 64,
        "width": 64,
        "dtype": "float32",
    }
)
ADAPTER = Adapter(rank=4, alpha=4.0, gamma=1.2)
ARM = Arm(gamma=1.2, threshold=0.0, guidance=3.0, adapter="taca-r16", adapter_scope="early")


@pytest.fixture(scope="module", params=NAMES)
def checkpoint(request, tmp_path_factory) -> Path:
    return make_checkpoint(request.param, tmp_path_factory.mktemp(request.param) / "checkpoint")


def weights(*modules) -> int:
    meter = Meter("cpu")
    for module in modules:
        meter.hold([*module.parameters(), *module.buffers()])
    return meter.live


def test_encode(checkpoint, tmp_path):
    pipe = load_encoders(checkpoint, ENCODE.dtype)
    base = in_folder(checkpoint)
    images = [CaptionedImage(f"{number}.png", "a red circle", 64, 64) for number in range(4)]
    for image in images:
        Image.new("RGB", (64, 64), "red").save(tmp_path / image.path)
    sizes = sizes_for(base.family, part_config(checkpoint, "vae"), ENCODE.resolution, ENCODE.aspects)
    encoder = Encoder(pipe, base.family, sizes, ENCODE.max_sequence_length)
    peak = peak_of(lambda: encoder.encode(tmp_path, images, ENCODE.batch_size, tmp_path / "encoded"))
    modules = [module for module in pipe.components.values() if isinstance(module, torch.nn.Module)]

    usage, encoded = work.encode(base, ENCODE)
    assert usage.peak == pytest.approx(weights(*modules) + peak, rel=0.1)
    (bucket,) = read_buckets(tmp_path / "encoded")
    written = bucket.read(range(4))
    assert {key: (value.shape, value.dtype) for key, value in encoded.items()} == {
        key: (value.shape, value.dtype) for key, value in written.items()
    }


@pytest.mark.long
@pytest.mark.parametrize("every", [0, 1])
def test_train(checkpoint, tmp_path, every):
    base = in_folder(checkpoint)
    settings = TRAIN.model_copy(update={"gradient_checkpointing": every})
    _, encoded = work.encode(base, ENCODE)
    generator = torch.Generator().manual_seed(0)
    shapes = {key: (20, *encoded[key].shape[1:]) for key in KEYS}
    samples = {key: torch.randn(shape, generator=generator).to(encoded[key].dtype) for key, shape in shapes.items()}
    save_file(samples, tmp_path / "shard-00000.safetensors")

    transformer = load_frozen(checkpoint, "bf16")
    parameters = add_lora(transformer, ADAPTER.rank, ADAPTER.alpha, None, 3)
    recompute_blocks(transformer, every)
    config = TrainConfig(
        steps=2, batch_size=8, learning_rate=1e-3, weight_decay=0.0, checkpoint_every=2, seed=3, mixed_precision="bf16"
    )
    batches = Batches(read_buckets(tmp_path), 2)
    trainer = Trainer(transformer, parameters, batches, config, TacaConfig(gamma=1.2), tmp_path)
    with taca(transformer, TacaConfig(gamma=1.2, threshold=0.0)):
        trainer._update(trainer._draw(0))
        # Drawn before: rows of a memory map count as the whole file, and are none of the GPU's.
        drawn = trainer._draw(1)
        peak = peak_of(lambda: trainer._update(drawn))
    moments = 2 * sum(parameter.nbytes for parameter in parameters)
    batch = sum(value.nbytes for value in drawn[0].values())

    usage = work.train(base, settings, ADAPTER, encoded, device="cpu")
    assert usage.step.peak == pytest.approx(weights(transformer) + moments + batch + peak, rel=0.1)
    assert usage.parameters == sum(parameter.numel() for parameter in parameters)


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason="without bfloat16 instructions, a processor's convolutions make copies in float32",
)
def test_previews(checkpoint, tmp_path):
    base, settings = in_folder(checkpoint), Preview(every=1, images=1, num_inference_steps=2, guidance=3.0)
    _, encoded = work.encode(base, ENCODE)
    shapes = {key: (4, *encoded[key].shape[1:]) for key in KEYS}
    samples = {key: torch.randn(shape).to(encoded[key].dtype) for key, shape in shapes.items()}
    save_file(samples, tmp_path / "shard-00000.safetensors")
    transformer, batches = load_frozen(checkpoint, "bf16"), Batches(read_buckets(tmp_path), 2)
    add_lora(transformer, ADAPTER.rank, ADAPTER.alpha, None, 3)
    keep_inputs(transformer)
    pipe = load_preview_pipeline(checkpoint, transformer, batches, "bf16")
    guided = needs_empty_caption(base.family, 3.0)
    empty = {key: value[0] for key, value in samples.items() if key != "latents"} if guided else None
    config = PreviewConfig(**settings.model_dump(), seed=0)
    taca_config = TacaConfig(gamma=1.2, threshold=0.0)
    previews = Previews(pipe, batches, config, taca_config, "bf16", empty, tmp_path / "images", print)
    peak = peak_of(lambda: previews.draw(0))

    model, vae = base.transformer("bf16"), base.build("vae", torch.bfloat16)
    add_lora(model, ADAPTER.rank, ADAPTER.alpha, None, 3)
    keep_inputs(model)
    with Kernels(torch.bfloat16, "cpu"), held(model, vae) as meter:
        flops = preview(base, settings, model, vae, ADAPTER, encoded, True, meter)
    assert meter.peak == pytest.approx(weights(transformer, pipe.vae) + peak, rel=0.1)
    assert flops > 0


@pytest.mark.long
def test_generate(checkpoint):
    base = in_folder(checkpoint)
    text = load_text(checkpoint, GENERATE.dtype)
    peak = peak_of(lambda: base.family.embed(text, ["a red circle"] * 4, GENERATE.max_sequence_length))
    modules = [module for module in text.components.values() if isinstance(module, torch.nn.Module)]
    assert drawing.embed(base, GENERATE).peak == pytest.approx(weights(*modules) + peak, rel=0.1)

    embeddings = base.family.embed(text, ["a red circle"] * 4, GENERATE.max_sequence_length)
    if base.family.classifier_free:
        embeddings |= {f"negative_{key}": value.clone() for key, value in embeddings.items()}
    pipe = load_drawing(checkpoint, GENERATE.dtype, "none")
    with taca(pipe, TacaConfig(gamma=1.2, threshold=0.0)):
        peak = peak_of(
            lambda: pipe(**embeddings, height=64, width=64, num_inference_steps=2, guidance_scale=3.0, output_type="pt")
        )
    found = drawing.draw(base, GENERATE, ARM, None, None, device="cpu")
    assert found.peak == pytest.approx(weights(pipe.transformer, pipe.vae) + peak, rel=0.1)
    assert found.size == (64, 64)


@pytest.mark.parametrize("way", ["plain", "ours"])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", ["FLUX", "SD3.5"])
def test_blocks_of_the_real_size_on_a_gpu(name, backward, way):
    """One double-stream block, and two single-stream ones of FLUX.1's, at 1024 x 1024 with and without TACA."""
    (row,) = [
        row
        for row in RECORDED
        if (row["model"], row["backward"], row["compiled"], row["backend"]) == (name, backward, False, "flash")
    ]
    with torch.device("meta"):
        model = transformer(name, 24, 1)
    model = torch.nn.Module.to(model, DTYPE)
    arguments, meter = inputs(name, 990.0, DTYPE, "meta"), held(model)
    meter.hold(arguments.values())
    before = meter.live
    config = TacaConfig(gamma=1.2 if way == "ours" else 1.0, threshold=0.0)
    with taca(model, config), meter, Kernels(), torch.set_grad_enabled(backward):
        output = model(**arguments, return_dict=False)[0]
        if backward:
            torch.autograd.grad(output.float().square().mean(), list(model.parameters()), allow_unused=True)
    assert meter.peak - before == pytest.approx(row["figures"][way]["peak_bytes"], rel=0.1)


@pytest.mark.long
@pytest.mark.parametrize(("precision", "gib"), [("bf16", 22.64), ("nf4", 6.72)])
def test_a_forward_pass_of_flux_as_diffusers_publish_it(precision, gib):
    """Their benchmark's peak memory on an L40, weights included (the hub's data set diffusers/benchmarks)."""
    model = in_folder(ROOT / "tests/published/configs/flux-dev").transformer(precision)
    arguments, meter = inputs("FLUX", 990.0, DTYPE, "meta"), held(model)
    meter.hold(arguments.values())
    with torch.no_grad(), meter, Kernels():
        model(**arguments, return_dict=False)
    assert meter.peak / 2**30 == pytest.approx(gib, rel=0.01)
