"""What TACA costs in one joint attention, against other ways to do it.

    python -m benchmarks.attention [--heads 2] [--repeats 11] [--out benchmarks/results/attention-cpu.json]

With a GPU, `--heads 24` measures the attention of FLUX.1-dev and SD3.5-medium as it is.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import torch

from benchmarks.models import DTYPE, SIZES
from benchmarks.timing import Run, compare, differentiated, provenance, shown
from benchmarks.variants import Variant, variants

# Image tokens at 512, 768 and 1024 pixels a side.
LENGTHS = (1024, 2304, 4096)
Backends = dict[str, Callable[[], AbstractContextManager]]
DEFAULT: Backends = {"default": nullcontext}
MODES = [(backward, compiled) for backward in (False, True) for compiled in (False, True)]


def attention_runs(size: tuple, heads: int, device: str, backward: bool, compiled: bool) -> dict[str, Run]:
    """One call of every variant on the same random projections."""
    image_tokens, text_tokens, width, text_first = size
    shape = (1, heads, image_tokens + text_tokens, width)
    tensors = [torch.randn(shape, dtype=DTYPE, device=device, requires_grad=backward) for _ in range(3)]

    def run(variant: Variant) -> Run:
        function = torch.compile(variant, dynamic=False) if compiled else variant
        call = partial(function, *tensors)
        return Run(lambda: differentiated(call, backward, tensors), calls=20 if device == "cuda" else 1)

    ways = variants(image_tokens, text_tokens, text_first, device)
    if compiled:
        del ways["flex, compiled alone"]
    return {name: run(variant) for name, variant in ways.items()}


def attention_rows(
    heads: int,
    repeats: int,
    device: str,
    lengths: tuple[int, ...] = LENGTHS,
    modes: list[tuple[bool, bool]] = MODES,
    backends: Backends = DEFAULT,
    sizes: dict[str, tuple] = SIZES,
) -> Iterator[dict]:
    for (name, (_, *rest)), image_tokens, (backward, compiled), (backend, around) in product(
        sizes.items(), lengths, modes, backends.items()
    ):
        torch._dynamo.reset()
        runs = attention_runs((image_tokens, *rest), heads, device, backward, compiled)
        if backend != "default":
            runs = {way: replace(runs[way], around=around) for way in ("plain", "plain again", "ours", "recomposed")}
        row = {"model": name, "image_tokens": image_tokens, "text_tokens": rest[0], "backend": backend}
        row |= {"backward": backward, "compiled": compiled}
        yield {**row, "figures": compare(runs, repeats, device)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--heads", type=int, default=2, help="(the models have 24; backward on a CPU takes a thread for each)"
    )
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attention-cpu.json"))
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    report = {"provenance": provenance(device), "repeats": options.repeats, "dtype": str(DTYPE)}
    report |= {"heads": options.heads}
    report["attention"] = shown(attention_rows(options.heads, options.repeats, device))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
