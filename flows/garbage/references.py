"""The hashes that DVC has noted in a commit or workspace of the repository."""

import re
from pathlib import Path

from runtime.tracking.git import git

HASH = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?\b")  # as DVC writes them
RECORDS = ("*dvc.lock", "*.dvc")  # files in which DVC notes hashes


def recorded_hashes(root: Path) -> frozenset[str]:
    """Every hash that DVC has noted in a commit that a branch, tag, experiment or stash leads to, or in a workspace.

    DVC's own `gc` finds them too, but reads each commit's pipeline for a fifth of a second and gives up where the
    listing of a folder is not in the cache.
    """
    texts = [_lines(root, *git(root, "rev-list", "--all").split())]
    for workspace in _workspaces(root):
        # What git ignores too: there MLflow keeps each run's `dvc.lock`, by which a rebuild finds the run's inputs.
        texts += [_lines(workspace, "--cached"), _lines(workspace, "--untracked", "--no-exclude-standard")]
    return frozenset(found for text in texts for found in HASH.findall(text))


def _workspaces(root: Path) -> list[Path]:
    """The repository and its worktrees, cells of sweeps among them."""
    listed = git(root, "worktree", "list", "--porcelain", "-z").split("\0")
    paths = [Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")]
    return [path for path in paths if path.exists()]


def _lines(workspace: Path, *where: str) -> str:
    """The hashes in DVC's records: in commits, the index or the files themselves."""
    search = ("grep", "-hoE", "-e", r"[0-9a-f]{32}(\.dir)?", *where, "--", *RECORDS)
    fault = f"git cannot say what {workspace} refers to, so nothing is removed"
    return git(workspace, *search, fault=fault, nothing=1)
