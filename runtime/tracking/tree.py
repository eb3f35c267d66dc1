"""The working tree that a run ran in: its commit, and all that differs from it and that git does not ignore."""

import gzip
import io
import os
import stat
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from runtime.errors import StageError
from runtime.tracking.git import git_bytes

DIFF = "git.diff"
UNTRACKED = "untracked.tar.gz"
SKIPPED = "git.untracked.skipped"  # a tag: names of untracked files that were not kept
COPIED = ("params.yaml", "dvc.lock")
LARGEST = 10 * 2**20  # bytes of an untracked file that is kept
TOGETHER = 100 * 2**20  # bytes of all that are
SETTLED = 0.5  # seconds


def keep_tree(root: Path, outs: list[str], folder: Path) -> dict[str, str]:
    """Writes into `folder` all that is needed beside the commit to have this tree again.

    Outputs of the pipeline and `dvc.lock` are not counted as edits.

    Args:
        outs: paths of the pipeline's outputs.

    Returns:
        Tags: the commit, whether anything differs from it, which untracked files could not be kept.
    """
    for name in COPIED:
        if (root / name).exists():
            (folder / name).write_bytes(settled(root / name))
    try:
        # The second fails where this folder only lies in a repository that does not know it.
        commit = git_bytes(root, "rev-parse", "HEAD", "HEAD:./").decode().split()[0]
    except StageError:  # no repository, or none with a commit
        return {"git.commit": "none", "git.dirty": "unknown"}
    # The settings of DVC for this machine may hold a password.
    edited = ["--", ".", *(f":(exclude){path}" for path in ("dvc.lock", ".dvc/config.local", *outs))]
    diff = _diff(root, edited)
    listed = git_bytes(root, "ls-files", "--others", "--exclude-standard", "-z", *edited)
    untracked = sorted(os.fsdecode(name) for name in listed.split(b"\0") if name)
    if diff:
        (folder / DIFF).write_bytes(diff)
    skipped = list(_pack(root, untracked, folder / UNTRACKED)) if untracked else []
    dirty = str(bool(diff or untracked)).lower()
    tags = {"git.commit": commit, "git.dirty": dirty, "mlflow.source.git.commit": commit}
    return {**tags, SKIPPED: ", ".join(skipped)} if skipped else tags


def _diff(root: Path, edited: list[str]) -> bytes:
    """A patch that `git apply` takes, whatever the user's settings for diffs that are looked at."""
    plain = ["--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/"]
    return git_bytes(root, "diff", *plain, "HEAD", *edited)


def _pack(root: Path, names: list[str], target: Path) -> Iterator[str]:
    """Writes an archive, the same bytes for the same files; the names of those that are not in it."""
    left = TOGETHER
    with (
        target.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0, compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name in names:
            if found := _entry(root / name, name, min(left, LARGEST)):
                entry, content = found
                archive.addfile(entry, io.BytesIO(content))
                left -= entry.size
            else:
                yield os.fsencode(name).decode(errors="replace")


def _entry(path: Path, name: str, limit: int) -> tuple[tarfile.TarInfo, bytes] | None:
    """A file or link without owner and time; None when it is larger than `limit`, unreadable or something else."""
    entry = tarfile.TarInfo(name)
    with suppress(OSError):
        if path.is_symlink():
            entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
            return entry, b""
        if path.is_file() and path.stat().st_size <= limit:
            content = path.read_bytes()
            # The modes of git.
            entry.size, entry.mode = len(content), 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
            return entry, content
    return None


def settled(path: Path) -> bytes:
    """What a file holds once nobody has written to it for a moment: DVC writes `dvc.lock` in place, not at once."""
    while 0 <= time.time() - path.stat().st_mtime < SETTLED:
        time.sleep(SETTLED / 5)
    return path.read_bytes()
