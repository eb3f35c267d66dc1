"""What it costs that threads of OpenMP wait spinning or asleep, alone and beside other programs.

    python -m benchmarks.waiting [--images 25] [--steps 4] [--threads 2] [--repeats 5] [--out FILE]

A program draws images with the built-in base, alone, beside as many busy loops as the machine has cores, and beside a
second such program, with each setting of `SETTINGS`. The images are the same bytes, or the report says so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path

from benchmarks.timing import provenance, shown
from runtime.threads import quiet_waiting

BASE = Path("models/base/builtin")
SETTINGS = {"spinning": {}, "quiet": quiet_waiting(), "asleep": {"OMP_WAIT_POLICY": "passive"}}


def draw(images: int, steps: int, threads: int, repeats: int) -> None:
    """Draws when it reads a line, and prints the seconds that each time took and the images' hash."""
    import torch

    from lab.models.load import load_base

    torch.set_num_threads(threads)
    pipe = load_base(BASE, "bfloat16")

    def drawn() -> str:
        seeds = [torch.Generator().manual_seed(seed) for seed in range(images)]
        made = pipe(["a red circle"] * images, generator=seeds, num_inference_steps=steps, max_sequence_length=8).images
        return md5(b"".join(image.tobytes() for image in made)).hexdigest()

    drawn()
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        digest = drawn()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "md5": digest}), flush=True)


def rows(arguments: list[str]) -> Iterator[dict]:
    """A row for each situation and setting; the settings follow each other, so that slow minutes hit all."""
    loops = os.cpu_count()
    for situation, programs, busy in (
        ("alone", 1, 0),
        (f"beside {loops} busy loops", 1, loops),
        ("beside its like", 2, 0),
    ):
        for name, setting in SETTINGS.items():
            with busy_loops(busy):
                found = together(programs, arguments, setting)
            row = {"situation": situation, "setting": name, "environment": setting}
            seconds = [one for each in found for one in each["seconds"]]
            yield row | {
                "median_s": statistics.median(seconds),
                "seconds": seconds,
                "md5": [each["md5"] for each in found],
            }


def together(programs: int, arguments: list[str], setting: dict[str, str]) -> list[dict]:
    """What so many programs print that begin to draw at the same moment."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    command = [sys.executable, "-m", "benchmarks.waiting", "--draw", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, env=env | setting, **pipes) for _ in range(programs)]
    for process in started:
        process.stdout.readline()
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    return [json.loads(process.communicate()[0]) for process in started]


@contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """So many programs that use a core each."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("images", 25), ("steps", 4), ("threads", 2), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=Path("waiting.json"))
    parser.add_argument("--draw", action="store_true", help="be the program that is timed")
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in ("images", "steps", "threads", "repeats")}
    if options.draw:
        draw(**sizes)
        return
    found = shown(rows([f"--{name}={value}" for name, value in sizes.items()]))
    same = len({digest for row in found for digest in row["md5"]}) == 1
    load = os.getloadavg()[0]
    report = {"provenance": provenance("cpu"), **sizes, "load_at_end": load, "same_bytes": same, "rows": found}
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
