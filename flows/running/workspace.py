"""A workspace of its own: a git worktree of a commit, with edits applied, that shares cache and remotes with `root`."""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from flows.running.repository import settings
from runtime.tracking.git import git

TWICE = ("--force", "--force")  # also what a kill of git has left locked


@contextmanager
def workspace(
    root: Path, commit: str, folder: Path, diff: bytes | None = None, untracked: Path | None = None
) -> Iterator[Path]:
    """A workspace that is removed at the end of the block; see `add_workspace`."""
    try:
        add_workspace(root, commit, folder, diff, untracked)
        yield folder
    finally:
        remove_workspace(root, folder)


def add_workspace(
    root: Path, commit: str, folder: Path, diff: bytes | None = None, untracked: Path | None = None
) -> None:
    """Makes a workspace at `folder`; what was there before is removed.

    Args:
        root: the repository whose commits, DVC cache and remotes it shares.
        diff: a patch of `git diff --binary`.
        untracked: an archive of more files.

    Raises:
        StageError: git does not have the commit, the disk is full, or the patch does not fit.
    """
    remove_workspace(root, folder)
    fault = f"git cannot make the workspace {folder.name}"
    # Hooks are for people's checkouts: that of `dvc install` would fetch all data of the commit.
    add = ["-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", *TWICE]
    with _changing_worktrees(root):
        folder.parent.mkdir(parents=True, exist_ok=True)
        git(root, *add, str(folder), commit, fault=fault)
    if diff:
        # Into the index too, so that a file that was added there is one that git tracks.
        git(folder, "apply", "--index", "--whitespace=nowarn", "-", content=diff, fault=fault)
    if untracked:
        with tarfile.open(untracked) as archive:
            archive.extractall(folder, filter="tar")
    _share(root, folder)


def remove_workspace(root: Path, folder: Path) -> None:
    """Removes a workspace, whatever is left of it; nothing when there is none."""
    if not folder.exists():
        return
    command = ["git", "-C", str(root), "worktree", "remove", *TWICE, str(folder)]
    with _changing_worktrees(root):
        if subprocess.run(command, capture_output=True).returncode != 0:  # a kill has left half of it
            shutil.rmtree(folder, ignore_errors=True)
            git(root, "worktree", "prune")
        with suppress(OSError):  # others are in it
            folder.parent.rmdir()


def _changing_worktrees(root: Path) -> FileLock:
    """Lets one at a time change worktrees: git reads the notes of all, and fails at one that is half written."""
    return FileLock(root / ".work" / "locks" / "worktrees.lock")


def cache_folder(root: Path) -> Path:
    """Where DVC keeps files by their hashes, in the cache that the workspace at `root` is configured with."""
    return Path(settings(root)["cache"].get("dir", root / ".dvc" / "cache"), "files", "md5")


def cached_file(root: Path, md5: str) -> Path:
    """Where DVC keeps the file with this hash."""
    return cache_folder(root) / md5[:2] / md5[2:]


def _share(root: Path, folder: Path) -> None:
    """Points DVC in `folder` to the cache and the remotes of `root`, wherever these are configured."""
    from dvc.config import Config, merge

    shared = settings(root)
    shared["cache"].setdefault("dir", str(root / ".dvc" / "cache"))
    shared["cache"]["type"] = "hardlink,reflink,copy"  # in this order: see `.dvc/config`
    # DVC keeps an index for each workspace; inside, it goes with the workspace.
    shared["core"]["site_cache_dir"] = str(folder / ".dvc" / "tmp" / "site")
    with Config(str(folder / ".dvc")).edit("local") as config:
        merge(config, shared)
