"""Check of the disk's links: whether an output takes its place once, or in the workspace and in DVC's cache."""

from pathlib import Path

from flows.checks import Finding
from flows.running.dvc import repository

COPY = "copy"
LINKS = ("reflink", "hardlink", "symlink")


def check_links(root: Path) -> Finding:
    """How DVC puts what it caches into the workspace, by trying it."""
    from dvc_objects.fs.generic import test_links

    with repository(root) as repo:
        cache = repo.cache.local
        can = test_links(list(LINKS), cache.fs, cache.path, repo.fs, str(root / "links"))
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


def _used(kinds: list[str], can: list[str]) -> str:
    """What is left of a folder that a stage wrote; DVC takes a plain file for a reflink, also where there are none."""
    for kind in kinds:
        if kind in can:
            return kind
        if kind in ("reflink", COPY):
            return COPY
    return COPY
