"""Measures training and drawing at the size of SD3.5-medium and FLUX.1-dev on this machine's NVIDIA GPU.

    python -m benchmarks.gpu [--out benchmarks/results] [--minutes 9] [--tiny] [--parts NAME ...]

Random weights, made on the GPU; nothing is downloaded. Each part runs in a process of its own and is saved
when it ends.
`--tiny` runs all of it on models of a moment, on a CPU where there is no GPU, without the parts' limits: its figures
say nothing.
"""

import argparse
import json
import re
import time
from pathlib import Path

from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.process import run_part
from benchmarks.gpu.scale import FULL, TINY
from benchmarks.gpu.targets import compared

SHORTEST = 20  # seconds: a part with less is not begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of gpu-NAME.json")
    parser.add_argument("--minutes", type=float, default=9, help="parts that would begin later are left out")
    parser.add_argument("--tiny", action="store_true", help="see whether all of it runs")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--rows", type=Path, help="measure here, and write the rows to this file")
    options = parser.parse_args()
    if options.rows:
        measure(options)
    else:
        report(options)


def measure(options: argparse.Namespace) -> None:
    """The rows of the parts, one JSON object a line, each written as soon as it is there."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with options.rows.open("a", buffering=1) as file:
        for name in options.parts:
            for row in PARTS[name].rows(TINY if options.tiny else FULL, device):
                print(json.dumps(row), flush=True)
                file.write(json.dumps(row) + "\n")


def report(options: argparse.Namespace) -> None:
    """Runs the parts one after the other, and keeps what there is after each."""
    start = time.monotonic()
    document, path = begun(options)
    for name in options.parts:
        left = 60 * options.minutes - (time.monotonic() - start)
        if left < SHORTEST:
            document["parts"][name] = {"rows": [], "failed": "It was not begun: the time was up."}
        else:
            print(f"# {name}", flush=True)
            arguments = ["--parts", name, *(["--tiny"] if options.tiny else [])]
            document["parts"][name] = run_part(arguments, left if options.tiny else min(PARTS[name].limit, left))
        if "failed" in document["parts"][name]:
            print(f"{name}: {document['parts'][name]['failed']}", flush=True)
        path.write_text(json.dumps(document, indent=2) + "\n")
    for text, bound, found, reached in compared(document):
        print(f"{text}: {found}, to be {bound}{reached and f' ({reached})'}")


def begun(options: argparse.Namespace) -> tuple[dict, Path]:
    """An empty report, and where it goes."""
    import torch

    from benchmarks.timing import provenance

    if not (options.tiny or torch.cuda.is_available()):
        raise SystemExit(
            "PyTorch sees no NVIDIA GPU here (torch.cuda.is_available() is false): run this where it does."
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scale = TINY if options.tiny else FULL
    made = provenance(device)
    name = "tiny" if options.tiny else re.sub(r"[^a-z0-9]+", "-", made["device"].lower())
    document = {"provenance": made, "scale": scale.name, "dtype": str(torch.bfloat16), "parts": {}}
    return document, options.out / f"gpu-{name}.json"


if __name__ == "__main__":
    main()
