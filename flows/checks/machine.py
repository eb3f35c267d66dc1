"""Checks of the machine: packages, disk, GPUs."""

import re
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flows.checks import Finding
from flows.running.leases import gpus

PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.*?))?(?: \\)?$", re.MULTILINE)
SHOWN = 5  # packages that a line names
LEAST = 5 * 2**30  # bytes of free disk


def check_packages(root: Path) -> Finding:
    """What is installed, against `requirements.lock`."""
    pins = dict(_pins((root / "requirements.lock").read_text()))
    others = [f"{name} {found} for {pin}" for name, pin in pins.items() if (found := _installed(name)) != pin]
    if not others:
        return Finding("packages", f"the {len(pins)} of requirements.lock (FastAPI {pins.get('fastapi', 'none')})")
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    return Finding(
        "packages",
        f"not those of requirements.lock: {', '.join(others[:SHOWN])}{more}",
        "`touch requirements.lock`, and the next make command installs them",
    )


def check_disk(root: Path) -> Finding:
    """Free space where the repository and DVC's cache are."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        cache = Path(repo.cache.local.path)
    free = {folder: shutil.disk_usage(_there(folder)).free for folder in (root, cache)}
    text = ", ".join(f"{size / 2**30:.1f} GiB free in {folder}" for folder, size in free.items())
    short = min(free.values()) < LEAST
    return Finding("disk", text, f"free some space, {LEAST // 2**30} GiB at least; `make gc` may help" if short else "")


def check_gpus(root: Path) -> Finding:
    """Whether torch sees the GPUs that flows would lend."""
    import torch

    lent, seen = len(gpus()), torch.cuda.device_count()
    if lent == seen:
        return Finding("GPUs", f"{seen}" if seen else "none; stages run on the CPU")
    return Finding(
        "GPUs",
        f"{lent} for stages, and torch sees {seen}",
        "install the driver that this torch needs, or correct CUDA_VISIBLE_DEVICES",
    )


def _pins(lock: str) -> Iterator[tuple[str, str]]:
    """The packages and versions of a lock file that this Python and system take."""
    from packaging.markers import Marker

    for pin in PIN.finditer(lock):
        if not pin["marker"] or Marker(pin["marker"]).evaluate():
            yield pin["name"], pin["version"]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _there(folder: Path) -> Path:
    """The folder, or what there is of it: DVC makes its cache when it needs one."""
    return next(place for place in (folder, *folder.parents) if place.exists())
