"""What each method of `taca.methods` costs in one joint attention of FLUX.1's shape: `python -m benchmarks.methods`.

Ratios of a call's time to that of attention without any of them, called in turn.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.markdown import line
from benchmarks.timing import Run, compare, provenance
from taca.methods import (
    Bias,
    LogCountBias,
    MassOnly,
    RandomDirection,
    RandomImageKeys,
    SharpeningOnly,
    Temperature,
    method_attention,
)

TEXT, IMAGE, WIDTH = 512, 4096, 128
METHODS = (
    Temperature(1.2),
    RandomDirection(1.2, 0),
    RandomImageKeys(1.2, 0),
    Bias(0.7),
    LogCountBias(0.25),
    MassOnly(1.2),
    SharpeningOnly(1.2),
)


def method_runs(heads: int, device: str) -> dict[str, Run]:
    """One call without a method, again, and with each."""
    query, key, value = (torch.randn(1, heads, TEXT + IMAGE, WIDTH, device=device) for _ in range(3))
    active = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
    text_query, image_query = query.split_with_sizes([TEXT, IMAGE], dim=2)
    attention = F.scaled_dot_product_attention

    def by(method):
        call = partial(method_attention, image_query, text_query, key, value, active, method, attention)
        return Run(partial(call, layer=0, text_first=True, token_dim=-2))

    plain = Run(partial(attention, query, key, value))
    return {"plain": plain, "plain again": plain, **{type(method).__name__: by(method) for method in METHODS}}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/methods-cpu.json"))
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    figures = compare(method_runs(options.heads, device), options.repeats, device)
    report = {"provenance": provenance(device), "repeats": options.repeats, "heads": options.heads, "methods": figures}
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print("\n".join(method_lines(report)))


def method_lines(report: dict) -> list[str]:
    """A table of the ratios, as docs/benchmarks.md has it."""
    head = [line(("method", "ratio to plain attention", "quartiles")), line(["---"] * 3)]
    rows = ((name, found["ratio"], *found["ratio_quartiles"]) for name, found in report["methods"].items())
    return head + [line((name, f"{ratio:.3f}", f"{low:.3f} to {high:.3f}")) for name, ratio, low, high in rows]


if __name__ == "__main__":
    main()
