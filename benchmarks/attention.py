"""What TACA costs: one joint attention and one whole transformer step, against the stock model and other ways to do it.

    python benchmarks/attention.py [--heads 2] [--repeats 15] [--out benchmarks/results/attention.json]

All variants are timed in turn within one run, so that a slow moment of the machine hits them alike. `plain` is timed
twice: its ratio to itself is the spread that a difference has to exceed.
"""

import argparse
import copy
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from taca import TacaConfig, apply_taca
from taca.attention import explicit_attention, taca_attention

GAMMA = 1.2
# Image tokens, text tokens, head width, and whether text comes first, at 1024 x 1024 pixels.
SIZES = {"flux": (4096, 512, 128, True), "sd3.5": (4096, 333, 64, False)}
SHORTER = {"flux-512px": (1024, 512, 128, True), "sd3.5-512px": (1024, 333, 64, False)}
Variant = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def variants(image_tokens: int, text_tokens: int, text_first: bool) -> dict[str, Variant]:
    """Each takes query, key and value (B, H, L, D) of the joint sequence and returns what all of its tokens read."""
    sizes = [text_tokens, image_tokens] if text_first else [image_tokens, text_tokens]
    position = torch.arange(sum(sizes))
    is_text = position < text_tokens if text_first else position >= image_tokens

    def plain(query, key, value):
        return F.scaled_dot_product_attention(query, key, value)

    def ours(query, key, value):
        parts = query.split_with_sizes(sizes, dim=-2)
        image_query, text_query = parts[::-1] if text_first else parts
        outputs = taca_attention(
            image_query,
            text_query,
            key,
            value,
            GAMMA,
            F.scaled_dot_product_attention,
            text_first=text_first,
            token_dim=-2,
        )
        return torch.cat(outputs[::-1] if text_first else outputs, dim=-2)

    def recomposed(query, key, value):
        """Two full-length calls, of which each token keeps one (the paper's Listing 2)."""
        scaled = torch.where(is_text[:, None], key * GAMMA, key)
        with_gamma = F.scaled_dot_product_attention(query, scaled, value)
        return torch.where(is_text[:, None], F.scaled_dot_product_attention(query, key, value), with_gamma)

    def explicit(query, key, value):
        return explicit_attention(query, key, value, is_text, GAMMA)

    def flex(query, key, value):
        from torch.nn.attention.flex_attention import flex_attention

        def score(logit, _batch, _head, query_index, key_index):
            image_to_text = ~is_text[query_index] & is_text[key_index]
            return torch.where(image_to_text, logit * GAMMA, logit)

        return flex_attention(query, key, value, score_mod=score)

    return {
        "plain": plain,
        "plain again": plain,
        "ours": ours,
        "recomposed": recomposed,
        "explicit": explicit,
        "flex": flex,
    }


def timed(run: Callable[[], object], device: str) -> float:
    """Seconds of one call, the device's work included."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(runs: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, dict]:
    """Median and quartiles of each, and its ratio to `plain` call by call; a variant that cannot run says why."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    failed = {}
    for name, run in runs.items():
        try:
            run()
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    for _ in range(repeats):
        for name, run in runs.items():
            if name not in failed:
                times[name].append(timed(run, device))
    return {name: {"failed": failed[name]} if name in failed else _summary(times, name) for name in runs}


def _summary(times: dict[str, list[float]], name: str) -> dict:
    ratios = [one / plain for one, plain in zip(times[name], times["plain"], strict=True)]
    return {
        "median_s": statistics.median(times[name]),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": statistics.quantiles(ratios, n=4)[::2],
    }


def attention_runs(size: tuple, heads: int, dtype: torch.dtype, device: str, backward: bool, compiled: bool) -> dict:
    """One call of every variant on the same random projections."""
    image_tokens, text_tokens, width, text_first = size
    shape = (1, heads, image_tokens + text_tokens, width)
    tensors = [torch.randn(shape, dtype=dtype, device=device, requires_grad=backward) for _ in range(3)]

    def run(variant: Variant) -> Callable[[], object]:
        function = torch.compile(variant) if compiled else variant

        def call() -> object:
            with torch.set_grad_enabled(backward):
                output = function(*tensors)
            return torch.autograd.grad(output.sum(), tensors) if backward else output

        return call

    with torch.device(device):
        return {name: run(variant) for name, variant in variants(image_tokens, text_tokens, text_first).items()}


def transformer(name: str, heads: int, layers: int) -> torch.nn.Module:
    """The family's transformer at full token count with random weights and fewer heads and blocks."""
    from diffusers import FluxTransformer2DModel, SD3Transformer2DModel

    torch.manual_seed(0)
    if name == "flux":
        return FluxTransformer2DModel(num_layers=layers, num_single_layers=2 * layers, num_attention_heads=heads)
    return SD3Transformer2DModel(
        sample_size=128,
        num_layers=layers,
        num_attention_heads=heads,
        caption_projection_dim=64 * heads,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )


def step_inputs(name: str, timestep: float, dtype: torch.dtype, device: str) -> dict:
    """One sample at 1024 x 1024 pixels, with the default text length."""

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=dtype, device=device)

    if name == "flux":
        ids = {"img_ids": torch.zeros(4096, 3, device=device), "txt_ids": torch.zeros(512, 3, device=device)}
        return {
            "hidden_states": normal(1, 4096, 64),
            "encoder_hidden_states": normal(1, 512, 4096),
            "pooled_projections": normal(1, 768),
            "timestep": torch.tensor([timestep / 1000], device=device),
            **ids,
        }
    return {
        "hidden_states": normal(1, 16, 128, 128),
        "encoder_hidden_states": normal(1, 333, 4096),
        "pooled_projections": normal(1, 2048),
        "timestep": torch.tensor([timestep], device=device),
    }


def step_runs(name: str, heads: int, layers: int, dtype: torch.dtype, device: str, backward: bool) -> dict:
    """A whole transformer step: the stock model, and a copy with TACA in a step where it acts and in one where not."""
    model = transformer(name, heads, layers).to(device, dtype)
    with_taca = copy.deepcopy(model)
    apply_taca(with_taca, TacaConfig(gamma=GAMMA))

    def run(which: torch.nn.Module, timestep: float) -> Callable[[], object]:
        arguments = step_inputs(name, timestep, dtype, device)

        def call() -> object:
            with torch.set_grad_enabled(backward):
                output = which(**arguments, return_dict=False)[0]
            if backward:
                output.float().square().mean().backward()
            return output

        return call

    return {
        "plain": run(model, 990.0),
        "plain again": run(model, 990.0),
        "ours": run(with_taca, 990.0),
        "ours below the threshold": run(with_taca, 500.0),
    }


def provenance(device: str) -> dict:
    """What the figures were measured on."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    machine = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    capability = torch.backends.cpu.get_cpu_capability()
    return {
        "commit": commit,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": machine,
        "cpu_capability": capability,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=2, help="heads of each attention (the models have 24)")
    parser.add_argument(
        "--layers", type=int, default=1, help="double blocks of each transformer (FLUX: and twice as many single)"
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--compiled", action="store_true", help="also every variant under torch.compile")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attention.json"))
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for name, size in {**SIZES, **SHORTER}.items():
        for backward in (False, True):
            for compiled in (False, True) if options.compiled else (False,):
                runs = attention_runs(size, options.heads, torch.bfloat16, device, backward, compiled)
                figures = compare(runs, options.repeats, device)
                rows.append({"size": name, "backward": backward, "compiled": compiled, "figures": figures})
                print(json.dumps(rows[-1]), flush=True)
    steps = []
    for name in SIZES:
        for backward in (False, True):
            runs = step_runs(name, options.heads, options.layers, torch.bfloat16, device, backward)
            steps.append({"model": name, "backward": backward, "figures": compare(runs, options.repeats, device)})
            print(json.dumps(steps[-1]), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {"heads": options.heads, "layers": options.layers, "repeats": options.repeats}
    report = {"provenance": provenance(device), **settings, "attention": rows, "step": steps}
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
