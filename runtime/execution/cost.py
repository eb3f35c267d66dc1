"""What an execution costs: how long it held its device, and what that comes to."""

import sys

HOUR = 3600.0  # seconds


def costs(wall_seconds: float, gpus: int, gpu_hour_price: float) -> dict[str, float]:
    """The metrics of an execution that took so long on so many GPUs, or on the CPU without any."""
    hours = wall_seconds * gpus / HOUR
    return {
        "cost/device_seconds": wall_seconds * max(gpus, 1),
        "cost/gpu_hours": hours,
        "cost/price": hours * gpu_hour_price,
    }


def gpus_used() -> int:
    """On how many GPUs torch has taken memory in this process; none where a stage does not import it."""
    torch = sys.modules.get("torch")
    if not torch or not torch.cuda.is_initialized():
        return 0
    return sum(torch.cuda.max_memory_reserved(gpu) > 0 for gpu in range(torch.cuda.device_count()))
