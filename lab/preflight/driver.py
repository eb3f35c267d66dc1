"""The GPUs that NVIDIA's driver lists, and why PyTorch cannot use them."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

# The oldest driver, by its series, that runs programs made with a CUDA of this major version (NVIDIA, "CUDA
# compatibility", minor version compatibility).
DRIVERS = {11: 450, 12: 525, 13: 580}
FIELDS = ("index", "uuid", "name", "driver_version", "memory.total", "memory.free")
MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """One GPU; `total` and `free` are bytes of its memory, None where it has none of its own."""

    index: str
    uuid: str
    name: str
    driver: str
    total: int | None
    free: int | None


def listed_gpus() -> list[Gpu]:
    """The GPUs that `nvidia-smi` lists and CUDA_VISIBLE_DEVICES does not hide; none without a driver."""
    command = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    except (FileNotFoundError, subprocess.SubprocessError):
        return []
    gpus = [_gpu(*(field.strip() for field in line.split(","))) for line in lines]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [gpu for gpu in gpus if any(name == gpu.index or gpu.uuid.startswith(name) for name in names)]


def _gpu(index: str, uuid: str, name: str, driver: str, total: str, free: str) -> Gpu:
    sizes = (int(value) * MIB if value.isdigit() else None for value in (total, free))
    return Gpu(index, uuid, name, driver, *sizes)


def why_unusable(gpus: Sequence[Gpu]) -> str | None:
    """Why PyTorch can use none of these GPUs, in a sentence with the remedy; None if it can."""
    import torch

    if torch.cuda.is_available():
        return None
    shown = f"nvidia-smi lists {', '.join(dict.fromkeys(gpu.name for gpu in gpus))}, which PyTorch {torch.__version__}"
    if torch.version.cuda is None:
        return f"{shown} cannot use, since it was built without CUDA: install the packages of requirements.lock."
    needed, found = DRIVERS[int(torch.version.cuda.partition(".")[0])], gpus[0].driver
    if int(found.partition(".")[0]) < needed:
        return (
            f"{shown} cannot use: the driver is {found}, and CUDA {torch.version.cuda} needs one of series {needed} or "
            'later; install that, or packages for an older CUDA ("An older driver" in docs/bases.md).'
        )
    return f"{shown} cannot use, though the driver {found} is new enough ({_reason()}): see whether it is let in here."


def _reason() -> str:
    import torch

    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:
        return str(error).strip().splitlines()[0]
    return "it counts no device"
