"""What killed flows and stages have left under `.work` and `.dvc/tmp`, and nobody works in any more."""

import shutil
import time
from pathlib import Path

from flows.garbage import Garbage
from flows.running.housekeeping import drop_temporary
from flows.running.workspace import remove_workspace
from runtime.execution.graph import read_recorded
from runtime.execution.lock import if_free
from runtime.execution.work import LOCK, Work

DAY = 24 * 3600.0  # seconds
WORK = "*-" + "[0-9a-f]" * 12  # a stage's, for certain inputs


def left_workspaces(root: Path, days: float) -> Garbage:
    """Workspaces whose flow was killed, and work of stages that is recorded in `dvc.lock` or so many days old.

    Not to be asked while a flow runs, since its cells have workspaces too.
    """
    kinds = {"rebuild": "rebuild", "branches": "branch"}
    idle = [
        found
        for folder, kind in kinds.items()
        for found in (root / ".work" / folder).glob("*/")
        if _is_free(root / ".work" / "locks" / f"{kind}-{found.name}.lock")
    ]
    worktrees = [*(root / ".work" / "cells").glob("*"), *idle]
    temporary = [*(root / ".dvc" / "tmp" / "exps" / "standalone").glob("tmp*")]
    # What is called "gone" was being removed when its stage was killed.
    work = [*_left_work(root, time.time() - days * DAY), *(root / ".work").glob("gone-*")]

    def remove() -> None:
        for folder in worktrees:
            remove_workspace(root, folder)
        for folder in work:
            shutil.rmtree(folder)
        drop_temporary(root)

    folders = [*worktrees, *work, *temporary]
    items = tuple(str(folder.relative_to(root)) for folder in folders)
    size = sum(path.lstat().st_size for folder in folders for path in folder.rglob("*"))
    return Garbage("workspaces", f"{len(items)} that killed flows and stages have left", items, size, remove)


def _left_work(root: Path, before: float) -> list[Path]:
    """Folders that no stage works in: finished and recorded, or unchanged since `before`, in seconds of the epoch."""
    recorded = [(Work(root / ".work", name, of), hashes) for name, (of, hashes) in read_recorded(root).items()]
    done = {work.folder for work, hashes in recorded if work.finished() == hashes}
    left = done.union(folder for folder in (root / ".work").glob(WORK) if _changed(folder) < before)
    return [folder for folder in sorted(left) if _is_free(folder / LOCK)]


def _is_free(lock: Path) -> bool:
    with if_free(lock) as free:
        return free


def _changed(folder: Path) -> float:
    """When something in it was written last, but for the lock, which is made by looking."""
    return max((path.lstat().st_mtime for path in folder.rglob("*") if path.name != LOCK), default=0.0)
