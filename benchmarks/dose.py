"""How far each method moves the logits, and what the text gets of the attention: `python -m benchmarks.dose`.

The built-in base draws the first color prompts of the default experiment, unguided; figures are means over the steps in
which a method acts, over layers, heads, image queries and text keys.
"""

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline

from benchmarks.markdown import line
from lab.analysis.doses import Recorded
from lab.world.prompts import world_prompts
from taca import remove_taca
from taca.adaptive import MassRule, RatioRule
from taca.hooks import apply_method
from taca.methods import (
    Bias,
    LogCountBias,
    MassOnly,
    Method,
    RandomDirection,
    RandomImageKeys,
    SharpeningOnly,
    Temperature,
)

BASE = Path("models/base/builtin")
# 970 of 4,096 tokens, at the world's 64.
THRESHOLD = 801.65
GAMMA = 1.2


def methods() -> dict[str, Method]:
    """Those of the sweep of controls, and the rules that find gamma themselves."""
    return {
        "without": Temperature(1.0),
        "TACA": Temperature(GAMMA),
        "mass only": MassOnly(GAMMA),
        "sharpening only": SharpeningOnly(GAMMA),
        "gamma 1 / 1.2": Temperature(1 / GAMMA),
        "random image keys": RandomImageKeys(GAMMA, 0),
        "random direction": RandomDirection(GAMMA, 0),
        "ln 2 added": Bias(0.6931471805599453),
        "log-count bias, share 0.5": LogCountBias(0.5),
        "ratio rule": RatioRule(),
        "mass rule": MassRule(0),
    }


def doses(prompts: int, steps: int) -> dict[str, Recorded]:
    """What each method does in the same drawings, by name."""
    pipe = StableDiffusion3Pipeline.from_pretrained(BASE)
    pipe.set_progress_bar_config(disable=True)
    texts = [prompt.prompt for prompt in world_prompts("val", prompts, 7) if prompt.category == "color"]
    found = {}
    for name, method in methods().items():
        found[name] = Recorded(method)
        apply_method(pipe, found[name], threshold=THRESHOLD)
        options = {"guidance_scale": 1.0, "max_sequence_length": 8, "output_type": "latent"}
        pipe(texts, num_inference_steps=steps, generator=torch.Generator().manual_seed(0), **options)
        remove_taca(pipe)
    return found


def dose_lines(found: dict[str, Recorded]) -> list[str]:
    """A table of the means."""
    rows = [line(("method", "mean change of a text logit", "attention to the text")), line(["---"] * 3)]
    for name, dose in found.items():
        means = (torch.tensor(values).mean().item() for values in (dose.change, dose.mass))
        rows.append(line((name, *(f"{mean:.3f}" for mean in means))))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    found = doses(options.prompts, options.steps)
    print("\n".join(dose_lines(found)))
    heads = found["mass rule"].method.heads
    print(f"Mass rule: {heads['solved']} heads solved, {heads['unsolved']} kept 1.")


if __name__ == "__main__":
    main()
