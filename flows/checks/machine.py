"""Checks of the machine: packages, disk, GPUs, and that nothing phones home."""

import re
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from flows.checks import Finding
from flows.running.dvc import environment, repository
from flows.running.workspace import cache_folder
from flows.services.server import QUIET
from flows.settings import machine

PIN = re.compile(r"^[\w.-]+==[^\\\n]+", re.MULTILINE)
SHOWN = 5  # packages that a line names
LEAST = 5 * 2**30  # bytes of free disk
# What each program understands as "no"; the first is for Prefect's client and whoever else asks for it.
OFF = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def check_packages(root: Path) -> Finding:
    """What is installed, against `requirements.lock`."""
    pins = [Requirement(pin) for pin in PIN.findall((root / "requirements.lock").read_text())]
    mine = {pin.name: str(pin.specifier)[2:] for pin in pins if not pin.marker or pin.marker.evaluate()}
    others = [f"{name} {found} for {pin}" for name, pin in mine.items() if (found := _installed(name)) != pin]
    if not others:
        return Finding("packages", f"the {len(mine)} of requirements.lock (FastAPI {mine.get('fastapi', 'none')})")
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    return Finding(
        "packages",
        f"not those of requirements.lock: {', '.join(others[:SHOWN])}{more}",
        "`touch requirements.lock`, and the next make command installs them",
    )


def check_disk(root: Path) -> Finding:
    """Free space where the repository and DVC's cache are."""
    cache = cache_folder(root)
    # DVC makes its cache when it needs one.
    there = next(place for place in (cache, *cache.parents) if place.exists())
    free = {root: shutil.disk_usage(root).free, cache: shutil.disk_usage(there).free}
    text = ", ".join(f"{size / 2**30:.1f} GiB free in {folder}" for folder, size in free.items())
    short = min(free.values()) < LEAST
    return Finding("disk", text, f"free some space, {LEAST // 2**30} GiB at least; `make gc` may help" if short else "")


def check_gpus(root: Path) -> Finding:
    """Whether torch sees the GPUs that flows would lend."""
    import torch

    lent, seen = len(machine(root).gpus), torch.cuda.device_count()
    if lent == seen:
        return Finding("GPUs", f"{seen}" if seen else "none; stages run on the CPU")
    return Finding(
        "GPUs",
        f"{lent} for stages, and torch sees {seen}",
        "install the driver that this torch needs, or correct CUDA_VISIBLE_DEVICES",
    )


def check_telemetry(root: Path) -> Finding:
    """DVC's configuration, and the environment in which flows start DVC, MLflow and Prefect."""
    with repository(root) as repo:
        core = repo.config["core"]
    env = {**environment(root), **QUIET}
    remedies = [f"`dvc config core.{key} false`" for key in ("analytics", "check_update") if core.get(key, True)]
    remedies += [f"give flows {name}={value}" for name, value in OFF.items() if env.get(name) != value]
    return Finding("telemetry", "on" if remedies else "off in DVC, MLflow and Prefect", ", ".join(remedies))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
