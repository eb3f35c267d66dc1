"""What TACA computes and costs on this machine's NVIDIA GPU, at the size of FLUX.1-dev and SD3.5-medium.

    python -m benchmarks.gpu [--repeats 21] [--out benchmarks/results]

Random weights, nothing is downloaded. `make gpu-check` runs the tests on the GPU first.
"""

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.attention import attention_rows
from benchmarks.models import DTYPE, SIZES, transformer
from benchmarks.steps import schedule_runs, step_rows
from benchmarks.timing import compare, differentiated, provenance, shown
from benchmarks.variants import variants

HEADS = 24
# PyTorch's own choice, then each kernel alone.
BACKENDS = {
    "default": nullcontext,
    "flash": partial(sdpa_kernel, SDPBackend.FLASH_ATTENTION),
    "cudnn": partial(sdpa_kernel, SDPBackend.CUDNN_ATTENTION),
    "efficient": partial(sdpa_kernel, SDPBackend.EFFICIENT_ATTENTION),
}
# Flash and cuDNN have no float32.
CHECKED = [(torch.float32, "default"), *((DTYPE, backend) for backend in BACKENDS)]
# No backward by PyTorch's own choice, on Hopper cuDNN: its gradients of the stock FLUX are wrong (PyTorch 2.11).
STEPS = {"flash": (False, True), "default": (False,)}
EAGER = [(False, False), (True, False)]


def error_rows(heads: int, device: str) -> Iterator[dict]:
    """Relative error of one attention, or of its worst gradient, against every logit in float64."""
    for name, (image_tokens, text_tokens, width, text_first) in SIZES.items():
        ways = variants(image_tokens, text_tokens, text_first, device)
        for dtype, backend in CHECKED:
            shape = (3, 1, heads, image_tokens + text_tokens, width)
            tensors = [x.requires_grad_() for x in torch.randn(shape, dtype=dtype, device=device)]
            exact = [x.detach().double().requires_grad_() for x in tensors]
            for backward in (False, True):
                row = {"model": name, "dtype": str(dtype), "backend": backend, "backward": backward}
                for way, reference in (("plain", "plain"), ("ours", "explicit")):
                    expected = differentiated(partial(ways[reference], *exact), backward, exact)
                    try:
                        with BACKENDS[backend]():
                            found = differentiated(partial(ways[way], *tensors), backward, tensors)
                        row[way] = _error(found, expected)
                    except RuntimeError as error:  # an older GPU or PyTorch has not every kernel
                        row[way] = str(error).splitlines()[0]
                yield row


def _error(found: torch.Tensor | tuple, expected: torch.Tensor | tuple) -> float:
    pairs = [(found, expected)] if torch.is_tensor(found) else zip(found, expected, strict=True)
    return max(((one.double() - other).norm() / other.norm()).item() for one, other in pairs)


def schedule_rows(layers: int | None, repeats: int, device: str) -> Iterator[dict]:
    """An image's 30 steps through the transformers as they are, or with fewer blocks."""
    for name in SIZES:
        with torch.device(device):
            model = transformer(name, HEADS, layers).to(DTYPE)
        figures = compare(schedule_runs(name, model, device), repeats, device)
        yield {"model": name, "steps": 30, "figures": figures, "turns": repeats}


def block_rows(repeats: int, device: str) -> Iterator[dict]:
    """A step, forward and backward, through one double block (FLUX: and two single) of the real width."""
    for name in SIZES:
        with torch.device(device):
            model = transformer(name, HEADS, layers=1).to(DTYPE)
        for backend, passes in STEPS.items():
            with BACKENDS[backend]():
                for row in step_rows(name, model, repeats, device, ("recomposed",), passes):
                    yield {**row, "backend": backend}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=21, help="of a step; a schedule, of 30 steps, takes a fifth")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of gpu-NAME.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit(
            "PyTorch sees no NVIDIA GPU here (torch.cuda.is_available() is false): run this where it does."
        )
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower())
    path, repeats = options.out / f"gpu-{name}.json", options.repeats
    report = {"provenance": provenance("cuda"), "repeats": repeats, "dtype": str(DTYPE), "heads": HEADS}
    parts = {
        "error": error_rows(HEADS, "cuda"),
        "attention": attention_rows(HEADS, repeats, "cuda", (4096,), EAGER, BACKENDS),
        "schedule": schedule_rows(None, max(repeats // 5, 2), "cuda"),
        "step": block_rows(repeats, "cuda"),
    }
    for part, rows in parts.items():
        report[part] = []
        # Written row by row: what was measured is kept if the machine goes.
        for row in rows:
            report[part] += shown(iter([row]))
            path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
