"""What an execution used of its machine, and what that comes to."""

import resource
import sys

HOUR = 3600.0  # seconds
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of getrusage's ru_maxrss
MIB = 2**20


def costs(wall_seconds: float, gpus: int, gpu_hour_price: float) -> dict[str, float]:
    """The metrics of an execution that took so long on so many GPUs, or on the CPU without any."""
    hours = wall_seconds * gpus / HOUR
    return {
        "cost/device_seconds": wall_seconds * max(gpus, 1),
        "cost/gpu_hours": hours,
        "cost/price": hours * gpu_hour_price,
    }


def gpus_used() -> int:
    """On how many GPUs torch has taken memory in this process."""
    cuda = _cuda()
    return sum(cuda.max_memory_reserved(gpu) > 0 for gpu in range(cuda.device_count())) if cuda else 0


def device() -> str:
    """Where torch computes; stages that do not import it use the CPU."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "cpu"


def peaks() -> dict[str, float]:
    """Peak memory of this process in MiB, on the GPU too when it was used."""
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES / MIB
    gpu = {"system/peak_gpu_mib": _cuda().max_memory_allocated() / MIB} if _cuda() else {}
    return {"system/peak_rss_mib": rss, **gpu}


def _cuda():
    """torch's, once this process has computed there; None for a stage that has not, or has not imported torch."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_initialized() else None
