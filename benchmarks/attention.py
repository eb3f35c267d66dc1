"""What TACA costs: one joint attention, one transformer step and a schedule of 30, against other ways to do it.

    python -m benchmarks.attention [--heads 2] [--layers 1] [--repeats 11] [--out benchmarks/results/attention-cpu.json]

With a GPU, `--heads 0 --layers 0` measures FLUX.1-dev's and SD3.5-medium's transformers as they are.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.models import SIZES, inputs, schedule, transformer
from benchmarks.timing import Run, compare, provenance
from benchmarks.variants import GAMMA, Variant, variants, with_variant
from taca import TacaConfig, taca
from taca.processors.swap import swapped

DTYPE = torch.bfloat16
# Image tokens at 512, 768 and 1024 pixels a side.
LENGTHS = (1024, 2304, 4096)
# The paper's Table 6 and what it leaves out: each without and with its backward pass, eager and compiled.
MODES = [(backward, compiled) for backward in (False, True) for compiled in (False, True)]


def differentiated(function: Callable[[], torch.Tensor], backward: bool, leaves: list[torch.Tensor]) -> object:
    """What `function` gives, or its gradients."""
    with torch.set_grad_enabled(backward):
        output = function()
        if backward:
            return torch.autograd.grad(output.float().square().mean(), leaves, allow_unused=True)
        return output


def attention_runs(size: tuple, heads: int, device: str, backward: bool, compiled: bool) -> dict[str, Run]:
    """One call of every variant on the same random projections."""
    image_tokens, text_tokens, width, text_first = size
    shape = (1, heads, image_tokens + text_tokens, width)
    tensors = [torch.randn(shape, dtype=DTYPE, device=device, requires_grad=backward) for _ in range(3)]

    def run(variant: Variant) -> Run:
        function = torch.compile(variant, dynamic=False) if compiled else variant
        return Run(lambda: differentiated(partial(function, *tensors), backward, tensors))

    ways = variants(image_tokens, text_tokens, text_first, device)
    if compiled:
        del ways["flex, compiled alone"]
    return {name: run(variant) for name, variant in ways.items()}


def step_runs(name: str, model: torch.nn.Module, device: str, backward: bool, compiled: bool) -> dict[str, Run]:
    """A step of the whole transformer: stock, with TACA at and below the threshold, with every other variant."""
    image_tokens, text_tokens, _, text_first = SIZES[name]
    early, late = (inputs(name, timestep, DTYPE, device) for timestep in (990.0, 500.0))
    leaves = list(model.parameters())

    def run(arguments: dict, **around) -> Run:
        return Run(lambda: differentiated(lambda: model(**arguments, return_dict=False)[0], backward, leaves), **around)

    with_taca = partial(taca, model, TacaConfig(gamma=GAMMA))
    runs = {
        "plain": run(early),
        "plain again": run(early),
        "ours": run(early, around=with_taca),
        "ours below the threshold": run(late, around=with_taca),
    }
    others = variants(image_tokens, text_tokens, text_first, device)
    for other in ("recomposed", "explicit", "flex", "flex, compiled alone"):
        if not (compiled and other == "flex, compiled alone"):
            processors = with_variant(model, others[other], text_tokens)
            runs[other] = run(early, around=partial(swapped, processors))
    return runs


def schedule_runs(name: str, model: torch.nn.Module, device: str) -> dict[str, Run]:
    """All 30 steps of an image, three of them at or above the threshold."""
    steps = [inputs(name, timestep, DTYPE, device) for timestep in schedule()]

    def image() -> None:
        with torch.no_grad():
            for arguments in steps:
                model(**arguments, return_dict=False)

    with_taca = partial(taca, model, TacaConfig(gamma=GAMMA))
    return {"plain": Run(image), "plain again": Run(image), "ours": Run(image, around=with_taca)}


def attention_rows(heads: int, repeats: int, device: str) -> Iterator[dict]:
    for name, (_, *rest) in SIZES.items():
        for image_tokens in LENGTHS:
            for backward, compiled in MODES:
                torch._dynamo.reset()
                runs = attention_runs((image_tokens, *rest), heads, device, backward, compiled)
                row = {"model": name, "image_tokens": image_tokens, "text_tokens": rest[0]}
                row |= {"backward": backward, "compiled": compiled}
                yield {**row, "figures": compare(runs, repeats, device)}


def step_rows(name: str, model: torch.nn.Module, repeats: int, device: str) -> Iterator[dict]:
    for compiled in (False, True):
        torch._dynamo.reset()
        if compiled:
            # As pipelines are compiled: each kind of block once, in a full graph.
            for blocks in ("transformer_blocks", "single_transformer_blocks"):
                for block in getattr(model, blocks, ()):
                    block.compile(fullgraph=True, dynamic=False)
        for backward in (False, True):
            figures = compare(step_runs(name, model, device, backward, compiled), repeats, device)
            yield {"model": name, "backward": backward, "compiled": compiled, "figures": figures}


def shown(rows: Iterator[dict]) -> list[dict]:
    """The rows, each printed as it comes."""
    kept = []
    for row in rows:
        print(json.dumps(row), flush=True)
        kept.append(row)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--heads",
        type=int,
        default=2,
        help="heads of each attention (backward on a CPU takes a thread for each); 0: as many as the model has, 24",
    )
    parser.add_argument(
        "--layers", type=int, default=1, help="double blocks (FLUX: and twice as many single); 0: as the model has"
    )
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attention-cpu.json"))
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Seven variants, forward and backward, of two kinds of block.
    torch._dynamo.config.recompile_limit = 128
    report = {"provenance": provenance(device), "repeats": options.repeats, "dtype": str(DTYPE)}
    report |= {"heads": options.heads or 24, "layers": options.layers or None}
    report["attention"] = shown(attention_rows(options.heads or 24, options.repeats, device))
    report["step"], report["schedule"] = [], []
    for name in SIZES:
        model = transformer(name, options.heads or None, options.layers or None).to(device, DTYPE)
        figures = compare(schedule_runs(name, model, device), options.repeats, device)
        report["schedule"] += shown(iter([{"model": name, "steps": 30, "figures": figures}]))
        report["step"] += shown(step_rows(name, model, options.repeats, device))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
