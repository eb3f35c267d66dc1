"""Times runs in turn, and says on what."""

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch


@dataclass(frozen=True)
class Run:
    """What is timed, and what is put in place around it outside of the time."""

    call: Callable[[], object]
    around: Callable[[], AbstractContextManager] = nullcontext
    calls: int = 1
    """Calls timed as one, where one alone takes a GPU no longer than to be waited for."""


def seconds(run: Run, device: str) -> float:
    """Of one call, the device's work included."""
    with run.around():
        _wait(device)
        start = time.perf_counter()
        for _ in range(run.calls):
            run.call()
        _wait(device)
        return (time.perf_counter() - start) / run.calls


def compare(runs: dict[str, Run], repeats: int, device: str) -> dict[str, dict]:
    """Median seconds of each, and median and quartiles of its ratio to `plain` in the same turn.

    All are timed in turn, so that a slow moment of the machine hits them alike. One that cannot run says why; on a GPU
    each also says its peak memory.
    """
    failed, peaks = {}, {}
    for name, run in runs.items():
        try:
            peaks[name] = _warm_up(run, device)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    times: dict[str, list[float]] = {name: [] for name in runs if name not in failed}
    for _ in range(repeats):
        for name, taken in times.items():
            taken.append(seconds(runs[name], device))
    return {
        name: {"failed": failed[name]} if name in failed else {**_summary(times, name), **peaks[name]} for name in runs
    }


def differentiated(function: Callable[[], torch.Tensor], backward: bool, leaves: list[torch.Tensor]) -> object:
    """What `function` gives, or its gradients."""
    with torch.set_grad_enabled(backward):
        output = function()
        if backward:
            return torch.autograd.grad(output.float().square().mean(), leaves, allow_unused=True)
        return output


def shown(rows: Iterator[dict]) -> list[dict]:
    """The rows, each printed as it comes."""
    kept = []
    for row in rows:
        print(json.dumps(row), flush=True)
        kept.append(row)
    return kept


def provenance(device: str) -> dict:
    """What the figures were measured on."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

    return {
        "commit": git("rev-parse", "HEAD"),
        "changed_since": bool(git("status", "--porcelain", "--", "taca", "lab", "benchmarks/*.py")),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _warm_up(run: Run, device: str) -> dict:
    """Two calls, the first of which compiles."""
    seconds(run, device)
    if device != "cuda":
        seconds(run, device)
        return {}
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    seconds(run, device)
    return {"peak_bytes": torch.cuda.max_memory_allocated() - before}


def _summary(times: dict[str, list[float]], name: str) -> dict:
    ratios = [one / plain for one, plain in zip(times[name], times["plain"], strict=True)]
    return {
        "median_s": statistics.median(times[name]),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": statistics.quantiles(ratios, n=4)[::2],
    }


def _processor() -> str:
    """The CPU's name, as Linux knows it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
