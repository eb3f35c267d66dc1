"""Check of the disk's links: whether an output takes its place once, or in the workspace and in DVC's cache."""

from pathlib import Path

from flows.checks import Finding

COPY = "copy"
LINKS = ("reflink", "hardlink", "symlink")


def check_links(root: Path) -> Finding:
    """How DVC puts what it caches into the workspace, by trying it."""
    from dvc.repo import Repo
    from dvc_objects.fs.generic import test_links

    with Repo(str(root)) as repo:
        cache = repo.cache.local
        can = test_links(list(LINKS), cache.fs, cache.path, repo.fs, str(root / "links"))
        used = next(kind for kind in (*cache.cache_types, COPY) if kind == COPY or kind in can)
    if used != COPY:
        return Finding("links", f"{used} between cache and workspace: an output takes its place once")
    twice = "an output takes its place twice, in the cache and in the workspace"
    better = [kind for kind in can if kind != "symlink"]  # which a program may follow and write into the cache
    if better:
        kinds = ",".join([*better, COPY])
        return Finding("links", f"the disk can {', '.join(better)}, but {twice}", f"`dvc config cache.type {kinds}`")
    # Not wrong: a cache on another disk may be meant.
    return Finding("links", f"none between {cache.path} and the workspace: {twice}")
