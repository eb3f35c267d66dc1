"""TACA in compiled transformers: full graphs, few of them, and the numbers of the model without TACA where it rests."""

import pytest
import torch
from peft import LoraConfig
from tiny_models import CASES, predict
from tiny_sd3 import draw, pipeline, relative_error, transformer
from torch._dynamo.utils import counters

from taca import TacaConfig, taca

pytestmark = pytest.mark.slow
CONFIG = TacaConfig(gamma=1.2, threshold=970.0)
# Active, active, and inactive steps, then batches of both kinds of sample.
STEPS = ([1000.0, 1000.0], [980.0, 980.0], [960.0, 960.0], [500.0, 500.0])
MIXED = ([980.0, 500.0], [400.0, 990.0])


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    return request.param


@pytest.fixture(autouse=True)
def no_grad():
    torch._dynamo.reset()
    counters.clear()
    with torch.no_grad():
        yield
    torch._dynamo.reset()


def compile_blocks(model, backend: str) -> None:
    for name in ("transformer_blocks", "single_transformer_blocks"):
        for block in getattr(model, name, ()):
            block.compile(fullgraph=True, backend=backend)


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def image(model, arguments, config=CONFIG) -> list[torch.Tensor]:
    with taca(model, config):
        return [predict(model, x) for x in arguments]


def test_each_kind_of_block_is_compiled_once_with_and_once_without(case):
    """None after the first image, none for batches of mixed timesteps or another gamma; and the eager numbers."""
    model = case.model()
    arguments = [case.inputs(t) for t in STEPS + MIXED]
    expected = image(model, arguments)
    compile_blocks(model, "eager")
    for _ in range(2):
        predict(model, arguments[2])
    stock = graphs()
    actual = image(model, arguments[:4])
    first = graphs()
    assert first <= 2 * stock
    image(model, arguments, TacaConfig(gamma=1.5))
    actual += image(model, arguments[4:])
    assert graphs() == first
    for one, other in zip(actual, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["sd3.5", "flux", "hunyuanvideo"])
def test_machine_code_where_taca_rests_is_that_of_the_stock_model(name):
    """Compiled against compiled, bit for bit: inactive steps, gamma 1, and the state after removal."""
    case = next(case for case in CASES if case.name == name)
    model, arguments = case.model(), [case.inputs(t) for t in STEPS]
    eager = image(model, arguments)
    compile_blocks(model, "inductor")
    stock = [predict(model, x) for x in arguments]
    actual = image(model, arguments)
    for step, (one, without, other) in enumerate(zip(actual, stock, eager, strict=True)):
        assert torch.equal(one, without) == (step >= 2)
        assert relative_error(one, other) < 1e-5
    for one, other in zip(image(model, arguments, TacaConfig(gamma=1)), stock, strict=True):
        assert torch.equal(one, other)
    for x, other in zip(arguments, stock, strict=True):
        assert torch.equal(predict(model, x), other)


@pytest.mark.parametrize("name", ["sd3.5", "flux", "qwenimage"])
def test_an_early_adapter_needs_no_graph_more(name):
    """With it each kind of block has two states still, and a second image compiles nothing."""
    case = next(case for case in CASES if case.name == name)
    model, arguments = case.model(), [case.inputs(t) for t in STEPS]
    predict(model, arguments[0])
    compile_blocks(model, "eager")
    for _ in range(2):
        predict(model, arguments[0])
    stock = graphs()
    torch._dynamo.reset()
    counters.clear()
    model.add_adapter(
        LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v"]), "mine"
    )
    config = TacaConfig(gamma=1.2, adapter="mine")
    first, compiled = image(model, arguments, config), graphs()
    assert compiled <= 2 * stock
    second = image(model, arguments, config)
    assert graphs() == compiled
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("as_module", [True, False], ids=["compiled module", "compiled in place"])
def test_a_transformer_compiled_as_a_whole_draws_the_same(as_module):
    """TACA applied to the pipeline, before or after; what is compiled is the pass inside the decision."""
    pipe = pipeline(transformer())
    stock = draw(pipe, steps=6)
    with taca(pipe, TacaConfig(gamma=2.0)):
        expected = draw(pipe, steps=6)
    if as_module:
        pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    else:
        pipe.transformer.compile(backend="eager")
    for _ in range(2):
        with taca(pipe, TacaConfig(gamma=2.0)):
            torch.testing.assert_close(draw(pipe, steps=6), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(draw(pipe, steps=6), stock, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(stock, expected, rtol=1e-3, atol=1e-4)
