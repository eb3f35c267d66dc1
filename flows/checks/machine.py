"""Checks of the machine: packages, disk and its links, GPUs, and that nothing phones home."""

import re
import shutil
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flows.checks import Finding
from flows.running.repository import environment, repository
from flows.running.workspace import cache_folder
from flows.services.server import QUIET
from flows.settings import machine

PIN = re.compile(r"^[\w.-]+==[^\\\n]+", re.MULTILINE)
SHOWN = 5  # packages that a line names
LEAST = 5 * 2**30  # bytes of free disk
COPY = "copy"
LINKS = ["reflink", "hardlink", "symlink"]
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
    # Of two that are installed the first one is imported.
    installed = {canonicalize_name(found.name): found.version for found in reversed([*distributions()])}
    found = {name: installed.get(canonicalize_name(name), "missing") for name in mine}
    others = [f"{name} {found[name]} for {pin}" for name, pin in mine.items() if found[name] != pin]
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


def check_links(root: Path) -> Finding:
    """How DVC puts what it caches into the workspace, by trying it."""
    from dvc_objects.fs.generic import test_links

    with repository(root) as repo:
        cache = repo.cache.local
        can = test_links(LINKS, cache.fs, cache.path, repo.fs, str(root / "links"))
        used = _used(cache.cache_types, can)
    if used != COPY:
        return Finding("links", f"{used} between cache and workspace: an output takes its place once")
    twice = "an output takes its place twice, in the cache and in the workspace"
    better = next((kind for kind in can if kind != "symlink"), None)  # through which a program may write into the cache
    if better:
        remedy = f"`dvc config cache.type {better},{COPY}`"
        return Finding(
            "links",
            f"the disk can {better}, but {twice}",
            f"{remedy}; what is removed and brought back by `dvc checkout` is linked too",
        )
    # Not wrong: a cache on another disk may be meant.
    return Finding("links", f"none between {cache.path} and the workspace: {twice}")


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


def _used(kinds: list[str], can: list[str]) -> str:
    """What is left of a folder that a stage wrote; DVC takes a plain file for a reflink, also where there are none."""
    first = next((kind for kind in kinds if kind in (*can, "reflink", COPY)), COPY)
    return first if first in can else COPY
