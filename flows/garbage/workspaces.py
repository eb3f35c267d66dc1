"""Workspaces of cells, rebuilds and DVC experiments that nobody works in any more."""

from collections.abc import Iterator
from pathlib import Path

from flows.garbage import Garbage
from flows.running.housekeeping import drop_temporary
from flows.running.workspace import remove_workspace
from runtime.execution.lock import if_free


def left_workspaces(root: Path) -> Garbage:
    """Those whose flow was killed; not to be asked while a flow runs, since its cells have some too."""
    worktrees = [*(root / ".work" / "cells").glob("*"), *_rebuilds(root)]
    temporary = [*(root / ".dvc" / "tmp" / "exps" / "standalone").glob("tmp*")]

    def remove() -> None:
        for folder in worktrees:
            remove_workspace(root, folder)
        drop_temporary(root)

    folders = [*worktrees, *temporary]
    items = tuple(str(folder.relative_to(root)) for folder in folders)
    size = sum(path.lstat().st_size for folder in folders for path in folder.rglob("*"))
    return Garbage("workspaces", f"{len(items)} that killed flows have left", items, size, remove)


def _rebuilds(root: Path) -> Iterator[Path]:
    """Workspaces of rebuilds that do not run."""
    for folder in (root / ".work" / "rebuild").glob("*/"):
        with if_free(root / ".work" / "locks" / f"rebuild-{folder.name}.lock") as free:
            if free:
                yield folder
