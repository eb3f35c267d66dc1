"""The base that adapters are trained on: its precision, blocks computed twice, and the graphs of compiled blocks."""

import sys
from collections import Counter
from dataclasses import replace

import pytest
import torch
from diffusers.quantizers.bitsandbytes.bnb_quantizer import BnB4BitDiffusersQuantizer
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

from lab.data.encoded import read_buckets
from lab.errors import LabError
from lab.models.load import load_transformer
from lab.training.batches import Batches
from lab.training.frozen import (
    blocks_of,
    check_precision,
    compile_blocks,
    deterministic,
    graphs,
    load_frozen,
    recompute_blocks,
)
from lab.training.loop import TrainConfig, Trainer
from lab.training.lora import add_lora
from taca.hooks import TacaConfig, taca
from tests.tiny_base import tiny_base
from tests.tiny_encoded import FLUX, SD3, encoded
from tests.tiny_flux import tiny_flux

BASES = {"sd3": (tiny_base, SD3), "flux": (tiny_flux, FLUX)}
CONFIG = TrainConfig(
    steps=2,
    batch_size=2,
    learning_rate=1e-2,
    weight_decay=0.01,
    checkpoint_every=2,
    seed=3,
    mixed_precision="bf16",
    max_gradient_norm=1.0,
)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="bitsandbytes is installed on Linux alone")


@pytest.fixture(params=list(BASES))
def base(request):
    return BASES[request.param]


def trainer(base, work, precision="bf16", every=0, sizes=((16, 16),), config=CONFIG, dtype=torch.bfloat16) -> Trainer:
    """With one bucket of samples for each size."""
    folder, widths = base
    for number, size in enumerate(sizes):
        encoded(work, 8, widths, size, dtype, first=number)
    transformer = load_frozen(folder(), precision)
    parameters = add_lora(transformer, 4, 4, None, seed=3)
    recompute_blocks(transformer, every)
    return Trainer(
        transformer, parameters, Batches(read_buckets(work), 2 * len(sizes)), config, TacaConfig(gamma=1.2), work
    )


def gradients(found: Trainer) -> list[torch.Tensor]:
    """Of one batch, with gamma other than 1 in every attention."""
    (batch,) = found._draw(0)
    with taca(found.transformer, TacaConfig(gamma=1.2, threshold=0.0)):
        found._loss(batch).backward()
    return [parameter.grad for parameter in found.parameters if parameter.grad is not None]


@pytest.mark.long
@pytest.mark.parametrize(("every", "twice"), [(0, ()), (1, (0, 1, 2, 3)), (2, (0, 2)), (3, (0, 3))])
def test_the_blocks_that_are_computed_twice_are_every_nth(tmp_path, base, every, twice):
    """Under TACA, whose own wrapper hands each block on; the gradients are the same bits."""
    plain = gradients(trainer(base, tmp_path / "plain"))
    found, passes = trainer(base, tmp_path / "w", every=every), Counter()
    blocks = blocks_of(found.transformer)
    for number, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda *_, number=number: passes.update([number]))
    assert all(map(torch.equal, plain, gradients(found)))
    expected = {number: 2 if number in twice else 1 for number in range(len(blocks))}
    assert passes == expected


class Multiplications(TorchDispatchMode):
    """Counts matrix multiplications and attention calls that are given float32."""

    NAMES = ("mm", "addmm", "bmm", "baddbmm", "convolution", "scaled_dot_product", "dot", "mv", "linear")

    def __init__(self):
        super().__init__()
        self.float32, self.seen = Counter(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        if any(part in name for part in self.NAMES):
            self.seen += 1
            tensors = [value for value in args if torch.is_tensor(value) and value.is_floating_point()]
            if any(value.dtype is torch.float32 for value in tensors[:2]):
                self.float32[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("every", [0, 1])
def test_no_matrix_is_multiplied_in_float32(tmp_path, base, every):
    """In a whole step on a bf16 base, though the adapter is float32."""
    found = trainer(base, tmp_path, every=every)
    assert {parameter.dtype for parameter in found.parameters} == {torch.float32}
    with taca(found.transformer, TacaConfig(gamma=1.2, threshold=0.0)), Multiplications() as multiplications:
        found._update(found._draw(0))
    assert multiplications.seen > 50
    assert multiplications.float32 == {}


def test_a_step_never_waits_for_the_device(tmp_path, base):
    """On the meta device, which has no values to read, a whole step runs: forward, backward, clipping, optimizer."""
    folder, widths = base
    transformer = load_transformer(folder(), torch.bfloat16).to("meta")
    parameters = add_lora(transformer, 4, 4, None, seed=3)
    config = replace(CONFIG, mixed_precision="no")
    batches = Batches(read_buckets(encoded(tmp_path, 8, widths)), 2)
    found = Trainer(transformer, parameters, batches, config, TacaConfig(gamma=1.2), tmp_path)
    transformer.float()
    with taca(transformer, TacaConfig(gamma=1.2, threshold=0.0)):
        loss = found._update(found._draw(0))
    assert loss.device.type == "meta"


@pytest.mark.slow
def test_the_number_of_graphs_is_known_before_training(tmp_path, base):
    """One for each kind of block and each size of image, held-out losses and checkpoints included."""
    torch._dynamo.reset()
    counters.clear()
    sizes = ((16, 16), (12, 16))
    found = trainer(base, tmp_path, every=2, sizes=sizes, config=replace(CONFIG, steps=8))
    for block in blocks_of(found.transformer):
        block.compile(fullgraph=True, dynamic=False, backend="aot_eager")
    found.run(lambda *_: None)
    assert counters["stats"]["unique_graphs"] == sum(graphs(found.transformer, len(sizes)).values())
    torch._dynamo.reset()


def test_more_graphs_than_torch_takes_are_refused(base):
    """Before anything is compiled; the sentence names the sizes and the number of graphs."""
    transformer = load_transformer(base[0]())
    with pytest.raises(LabError, match=r"9 sizes of images make \d+ graphs of a block, of which torch.compile takes 8"):
        compile_blocks(transformer, 9)


def test_four_bits_on_a_cpu_are_refused(monkeypatch):
    """In one sentence that names the key, before anything is loaded."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_precision("bf16")
    with pytest.raises(LabError, match=r"`train.precision` is nf4, which needs an NVIDIA GPU"):
        check_precision("nf4")


@pytest.mark.long
@on_linux
def test_a_base_in_four_bits_is_trained_on(tmp_path, base, monkeypatch):
    """Ten steps on a CPU, with diffusers' question for a GPU left out: weights are packed, and the loss goes down."""
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "validate_environment", lambda *_, **__: None)
    config = replace(CONFIG, steps=10, batch_size=4, checkpoint_every=10)
    found = trainer(base, tmp_path, precision="nf4", every=2, config=config)
    # In evaluation bitsandbytes packs weights for the CPU anew, in a form that has no backward pass.
    found.transformer.train()
    history = found.run(lambda *_: None)
    assert history[-1]["held_out_loss"] < history[0]["held_out_loss"]


@on_linux
def test_every_layer_but_flux_first_one_is_in_four_bits(monkeypatch, base):
    """The single-stream blocks' `proj_out` too, though the last layer of the model has the same name."""
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "validate_environment", lambda *_, **__: None)
    transformer = load_frozen(base[0](), "nf4")
    layers = {name: layer for name, layer in transformer.named_modules() if isinstance(layer, torch.nn.Linear)}
    whole = {name for name, layer in layers.items() if layer.weight.dtype is not torch.uint8}
    assert whole == ({"x_embedder"} if "x_embedder" in layers else set())


def test_deterministic_algorithms_are_on_for_a_while():
    """And as they were afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before
