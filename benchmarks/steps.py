"""What TACA costs in one step of a whole transformer, and in a schedule of 30, against other ways to do it.

    python -m benchmarks.steps [--heads 2] [--layers 1] [--repeats 11] [--out benchmarks/results/steps-cpu.json]

With a GPU, `--heads 0 --layers 0` measures FLUX.1-dev's and SD3.5-medium's transformers as they are.
"""

import argparse
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.models import DTYPE, SIZES, inputs, schedule, transformer
from benchmarks.timing import Run, compare, differentiated, provenance, shown
from benchmarks.variants import GAMMA, variants, with_variant
from taca import TacaConfig, taca
from taca.processors.swap import swapped

OTHERS = ("recomposed", "explicit", "flex", "flex, compiled alone")


def step_runs(
    name: str,
    model: torch.nn.Module,
    device: str,
    backward: bool,
    compiled: bool,
    others: tuple[str, ...] = OTHERS,
    size: tuple | None = None,
) -> dict[str, Run]:
    """A step of the whole transformer: stock, with TACA at and below the threshold, with other variants."""
    size = size or SIZES[name]
    image_tokens, text_tokens, _, text_first = size
    early, late = (inputs(name, timestep, DTYPE, device, size) for timestep in (990.0, 500.0))
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
    ways = variants(image_tokens, text_tokens, text_first, device)
    for other in others:
        if not (compiled and other == "flex, compiled alone"):
            processors = with_variant(model, ways[other], text_tokens)
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


def step_rows(
    name: str,
    model: torch.nn.Module,
    repeats: int,
    device: str,
    others: tuple[str, ...] = OTHERS,
    passes: tuple[bool, ...] = (False, True),
    size: tuple | None = None,
) -> Iterator[dict]:
    """Eager and compiled; `passes` says whether each is differentiated, `size` is as one of `SIZES`."""
    # Six variants, forward and backward, of two kinds of block.
    torch._dynamo.config.recompile_limit = 128
    for compiled in (False, True):
        torch._dynamo.reset()
        if compiled:
            # As pipelines are compiled: each kind of block once, in a full graph.
            for blocks in ("transformer_blocks", "single_transformer_blocks"):
                for block in getattr(model, blocks, ()):
                    block.compile(fullgraph=True, dynamic=False)
        for backward in passes:
            figures = compare(step_runs(name, model, device, backward, compiled, others, size), repeats, device)
            yield {"model": name, "backward": backward, "compiled": compiled, "figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=2, help="0: as many as the model has, 24")
    parser.add_argument(
        "--layers", type=int, default=1, help="double blocks (FLUX: and twice as many single); 0: as the model has"
    )
    parser.add_argument("--repeats", type=int, default=11, help="of a step; a schedule, of 30 steps, takes a third")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/steps-cpu.json"))
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    report = {"provenance": provenance(device), "repeats": options.repeats, "dtype": str(DTYPE)}
    report |= {"heads": options.heads or 24, "layers": options.layers or None, "step": [], "schedule": []}
    for name in SIZES:
        model = transformer(name, options.heads or None, options.layers or None).to(device, DTYPE)
        figures = compare(schedule_runs(name, model, device), max(options.repeats // 3, 2), device)
        report["schedule"] += shown(iter([{"model": name, "steps": 30, "figures": figures}]))
        report["step"] += shown(step_rows(name, model, options.repeats, device))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
