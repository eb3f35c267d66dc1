"""The share of a time in which the device computes, by PyTorch's profiler."""

import time
from collections.abc import Iterable

import torch
from torch.profiler import ProfilerActivity, profile


class Busy:
    """From `start` to `stop`; both are called when the device has nothing left to do."""

    def __init__(self, device: str):
        # What is copied to the device, and ranges that programs mark there, are no work of it.
        self.kind = "kernel" if device == "cuda" else "cpu_op"
        self.profile = profile(activities=[ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU])

    def start(self) -> None:
        """Starting the profiler, which takes seconds the first time, is not counted."""
        self.profile.start()
        self.begin = time.perf_counter()

    def stop(self) -> float:
        """Between 0 and 1."""
        seconds = time.perf_counter() - self.begin
        self.profile.stop()
        events = self.profile.profiler.kineto_results.events()
        return covered((e.start_ns(), e.end_ns()) for e in events if e.activity_type() == self.kind) / 1e9 / seconds


def covered(spans: Iterable[tuple[int, int]]) -> int:
    """The length of what the spans (start, end) cover together."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return total


def memory(device: str) -> dict[str, int]:
    """Peaks since the last reset, in bytes: of live tensors, and of what PyTorch held for them."""
    if device != "cuda":
        return {}
    return {"peak_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved()}


def reset_memory(device: str) -> None:
    """Frees what is not in use, and starts the peaks anew."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
