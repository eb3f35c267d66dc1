"""How fast training is, and what it waits for."""

import time

import torch

from lab.data.ahead import Ahead


class Pace:
    """Measures steps from `start` to `measure`.

    Args:
        drawn: where the steps' data come from.
        images: of one step.
        device: where the steps are computed.
    """

    def __init__(self, drawn: Ahead, images: int, device: torch.device):
        self.drawn, self.images, self.device = drawn, images, device
        self.start()

    def start(self) -> None:
        """Begins anew, after a pause that counts for nothing."""
        self.started, self.waited = time.perf_counter(), self.drawn.waited

    def measure(self, steps: int) -> dict[str, float]:
        """Metrics of so many steps, whose results have been read."""
        seconds = time.perf_counter() - self.started
        metrics = {
            "images_per_second": steps * self.images / seconds,
            "data_wait_share": (self.drawn.waited - self.waited) / seconds,
        }
        if self.device.type == "cuda":
            metrics["peak_memory_gib"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        return metrics
