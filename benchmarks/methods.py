"""What each method costs in one joint attention of FLUX.1's shape: `python -m benchmarks.methods`.

Ratios of a call's time to that of attention without any of them, called in turn. Text states are scaled before they are
projected, which here they are by nothing; the guiders' ratios are of combining the branches of one 1024 x 1024 image.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.markdown import line
from benchmarks.timing import Run, compare, provenance
from lab.generation.guiders import GUIDERS
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
from taca.text_states import TextStatesProcessor
from taca.tokens import Run as TextRun

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
    found = {"plain": plain, "plain again": plain, **{type(method).__name__: by(method) for method in METHODS}}
    return {**found, "TextStates": Run(partial(_text_states, query, key, value, active))}


def _text_states(query, key, value, active) -> torch.Tensor:
    """Attention behind the processor that scales 512 text states as wide as the heads together."""
    heads = query.shape[1]
    text = query[:, :, :TEXT].transpose(1, 2).reshape(1, TEXT, heads * WIDTH)
    processor = TextStatesProcessor(2.0, active, TextRun(TEXT, text_first=True))
    processor.stock = lambda *_args, **_kwargs: F.scaled_dot_product_attention(query, key, value)
    return processor(None, text, text)


def guider_runs(device: str) -> dict[str, Run]:
    """Combining both branches of SD3's latents at 1024 x 1024, by the pipeline's formula and by each guider."""
    unconditional, conditional = (torch.randn(1, 16, 128, 128, device=device) for _ in range(2))

    def by(name):
        guider = GUIDERS[name](4.5)
        guider.set_state(step=5, num_inference_steps=30, timestep=torch.tensor(900.0))
        return Run(partial(guider.forward, conditional, unconditional))

    plain = Run(lambda: unconditional + 4.5 * (conditional - unconditional))
    return {"plain": plain, **{name: by(name) for name in GUIDERS}}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/methods-cpu.json"))
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    report = {
        "provenance": provenance(device),
        "repeats": options.repeats,
        "heads": options.heads,
        "methods": compare(method_runs(options.heads, device), options.repeats, device),
        "guiders": compare(guider_runs(device), options.repeats, device),
    }
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print("\n".join(method_lines(report)))


def method_lines(report: dict) -> list[str]:
    """Tables of the ratios, as docs/benchmarks.md has them."""
    found = []
    for part, ratio in (("methods", "ratio to plain attention"), ("guiders", "ratio to plain guidance")):
        found += ["", line((part[:-1], ratio, "quartiles", "seconds")), line(["---"] * 4)]
        for name, one in report[part].items():
            low, high = one["ratio_quartiles"]
            found.append(line((name, f"{one['ratio']:.3f}", f"{low:.3f} to {high:.3f}", f"{one['median_s']:.2g}")))
    return found[1:]


if __name__ == "__main__":
    main()
