"""Cells as DVC experiments: commits that `dvc exp show` lists, on the commit that the sweep started from.

The commit is made with git alone. `dvc exp save` would hash and commit every output of the pipeline, most of which a
cell's workspace never fetches.
"""

import io
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from taca.errors import StageError

# What a cell leaves in git: its settings, the hashes of its outputs, its metrics.
FILES = ("params.yaml", "dvc.lock", "results/metrics")
AUTHOR = {
    "GIT_AUTHOR_NAME": "taca",
    "GIT_AUTHOR_EMAIL": "taca@localhost",
    "GIT_COMMITTER_NAME": "taca",
    "GIT_COMMITTER_EMAIL": "taca@localhost",
}


def head(root: Path) -> str:
    """The commit that is checked out."""
    return _git(root, "rev-parse", "--verify", "HEAD")


def save(workspace: Path, baseline: str, name: str, digest: str) -> str:
    """Makes an experiment of what the workspace has now; its commit."""
    _git(workspace, "add", "--force", *(path for path in FILES if (workspace / path).exists()))
    tree = _git(workspace, "write-tree")
    commit = _git(workspace, "commit-tree", tree, "-p", baseline, "-m", f"taca-cell {digest}")
    _git(workspace, "update-ref", reference(baseline, name), commit)
    return commit


def finished(root: Path, baseline: str) -> dict[str, tuple[str, str]]:
    """Commit and digest of every cell's experiment on this baseline, by its name."""
    under = reference(baseline, "").rstrip("/")
    listed = _git(root, "for-each-ref", "--format=%(refname) %(objectname) %(contents:subject)", under)
    found = {}
    for line in listed.splitlines():
        path, commit, *words = line.split(" ")
        if words[:1] == ["taca-cell"]:
            found[path.rpartition("/")[2]] = (commit, words[1])
    return found


def lock_of(root: Path, commit: str) -> Mapping:
    """dvc.lock of an experiment."""
    import yaml

    # The quick reader: a sweep of a thousand cells reads a thousand of these.
    return yaml.load(
        io.StringIO(_git(root, "show", f"{commit}:dvc.lock")), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )


def reference(baseline: str, name: str) -> str:
    """Where DVC looks for an experiment."""
    return f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, env=os.environ | AUTHOR
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise StageError(
            f"`git {arguments[0]}` failed ({said[0]}): see that this folder is a git repository with a commit."
        )
    return done.stdout.strip()
