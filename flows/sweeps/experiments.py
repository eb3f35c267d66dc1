"""Cells as DVC experiments: commits that `dvc exp show` lists, on the commit that the sweep started from.

The commit is made with git alone. `dvc exp save` would hash and commit every output of the pipeline, most of which a
cell's workspace never fetches.
"""

import io
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from runtime.errors import StageError

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
    commit = _git(workspace, "commit-tree", tree, "-p", baseline, "-m", f"taca-cell {digest} {name}")
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


def origin(root: Path) -> str | None:
    """The address of the remote repository `origin`; None without one."""
    return _git(root, "config", "--default", "", "--get", "remote.origin.url") or None


def publish(root: Path, repository: str, baseline: str, name: str) -> None:
    """Pushes an experiment to the repository that machines share."""
    path = reference(baseline, name)
    _git(root, "push", "--quiet", "--force", repository, f"{path}:{path}")


def fetch(root: Path, repository: str, baseline: str, name: str) -> None:
    """Fetches an experiment from there, in place of what this repository has of that name."""
    path = reference(baseline, name)
    _git(root, "fetch", "--quiet", "--no-tags", repository, f"+{path}:{path}")


def fetch_unknown(root: Path, repository: str, baseline: str) -> None:
    """Fetches those that this repository has none of, by name: other machines' cells."""
    under = reference(baseline, "")
    there = [line.split()[1] for line in _git(root, "ls-remote", repository, f"{under}*").splitlines()]
    here = set(_git(root, "for-each-ref", "--format=%(refname)", under.rstrip("/")).splitlines())
    new = [f"{path}:{path}" for path in there if path not in here]
    if new:
        _git(root, "fetch", "--quiet", "--no-tags", repository, *new)


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
