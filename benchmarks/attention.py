"""What TACA costs in one joint attention, against other ways to do it.

    python -m benchmarks.attention [--heads 2] [--repeats 11] [--out benchmarks/results/attention-cpu.json]

With a GPU, `--heads 24` measures the attention of FLUX.1-dev and SD3.5-medium as it is.
"""

import argparse
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.models import DTYPE, SIZES
from benchmarks.timing import Run, compare, differentiated, provenance, shown
from benchmarks.variants import Variant, variants

# Image tokens at 512, 768 and 1024 pixels a side.
LENGTHS = (1024, 2304, 4096)
MODES = [(backward, compiled) for backward in (False, True) for compiled in (False, True)]


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


def attention_rows(heads: int, repeats: int, device: str) -> Iterator[dict]:
    for name, (_, *rest) in SIZES.items():
        for image_tokens in LENGTHS:
            for backward, compiled in MODES:
                torch._dynamo.reset()
                runs = attention_runs((image_tokens, *rest), heads, device, backward, compiled)
                row = {"model": name, "image_tokens": image_tokens, "text_tokens": rest[0]}
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
