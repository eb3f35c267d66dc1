"""A workspace of its own: a git worktree of a commit, with edits applied, that shares cache and remotes with `root`."""

import fcntl
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.errors import StageError

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
    # Hooks are for people's checkouts: that of `dvc install` would fetch all data of the commit.
    without_hooks = ["-c", "core.hooksPath=/dev/null"]
    with _alone(root):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _git(root, *without_hooks, "worktree", "add", "--quiet", "--detach", *TWICE, str(folder), commit)
    if diff:
        # Into the index too, so that a file that was added there is one that git tracks.
        _git(folder, "apply", "--index", "--whitespace=nowarn", "-", content=diff)
    if untracked:
        with tarfile.open(untracked) as archive:
            archive.extractall(folder, filter="tar")
    _share(root, folder)


def remove_workspace(root: Path, folder: Path) -> None:
    """Removes a workspace, whatever is left of it; nothing when there is none."""
    if not folder.exists():
        return
    command = ["git", "-C", str(root), "worktree", "remove", *TWICE, str(folder)]
    with _alone(root):
        if subprocess.run(command, capture_output=True).returncode != 0:  # a kill has left half of it
            shutil.rmtree(folder, ignore_errors=True)
            _git(root, "worktree", "prune")
        with suppress(OSError):  # others are in it
            folder.parent.rmdir()


def has_commit(root: Path, commit: str) -> bool:
    """Whether git has the commit here."""
    found = subprocess.run(["git", "-C", str(root), "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True)
    return found.returncode == 0


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Lets one at a time change worktrees: git reads the notes of all, and fails at one that is half written."""
    place = os.open(root / ".git", os.O_RDONLY)  # a folder, or in a worktree a file, that is always there
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def _share(root: Path, folder: Path) -> None:
    """Points DVC in `folder` to the cache and the remotes of `root`, wherever these are configured."""
    from dvc.config import Config, merge

    shared = Config(str(root / ".dvc")).read()  # of all levels, with absolute paths
    shared["cache"].setdefault("dir", str(root / ".dvc" / "cache"))
    shared["cache"]["type"] = "reflink,hardlink,copy"
    # DVC keeps an index for each workspace; inside, it goes with the workspace.
    shared["core"]["site_cache_dir"] = str(folder / ".dvc" / "tmp" / "site")
    with Config(str(folder / ".dvc")).edit("local") as config:
        merge(config, shared)


def _git(folder: Path, *arguments: str, content: bytes | None = None) -> None:
    done = subprocess.run(["git", "-C", str(folder), *arguments], input=content, capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise StageError(f"git cannot make the workspace {folder.name} ({said[0]}).")
