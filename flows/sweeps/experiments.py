"""Cells as DVC experiments: commits that `dvc exp show` lists, on the commit that the sweep started from.

The commit is made with git alone. `dvc exp save` would hash and commit every output of the pipeline, most of which a
cell's workspace never fetches; and it would keep the metrics of other arms, which other parameters have made.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from runtime.tracking.git import git

METRICS = ("results/metrics", "means", "gains")  # what git has of the results
# The quick reader: a sweep of a thousand cells reads a thousand lock files.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def head(root: Path) -> str:
    """The commit that is checked out."""
    return git(root, "rev-parse", "--verify", "HEAD")


def save(workspace: Path, baseline: str, name: str, message: str, metrics: Iterable[str]) -> str:
    """Makes an experiment on `baseline` of what the workspace has now; its commit, on the one checked out there.

    Args:
        metrics: files below `METRICS` that were made with its parameters; the commit has no others.
    """
    git(workspace, "rm", "-r", "--cached", "--quiet", "--ignore-unmatch", *METRICS)
    git(workspace, "add", "--force", "params.yaml", "dvc.lock", *metrics)
    tree = git(workspace, "write-tree")
    commit = git(workspace, "commit-tree", tree, "-p", head(workspace), "-m", message)
    git(workspace, "update-ref", reference(baseline, name), commit)
    return commit


def finished(root: Path, baseline: str) -> dict[str, tuple[str, str]]:
    """Commit and digest of every cell's experiment on this baseline, by its name."""
    under = reference(baseline, "").rstrip("/")
    listed = git(root, "for-each-ref", "--format=%(refname) %(objectname) %(contents:subject)", under)
    found = (line.split(" ") for line in listed.splitlines())
    return {path.rpartition("/")[2]: (commit, words[1]) for path, commit, *words in found if words[:1] == ["taca-cell"]}


def lock_of(root: Path, commit: str) -> Mapping:
    """dvc.lock of an experiment."""
    return yaml.load(git(root, "show", f"{commit}:dvc.lock"), LOADER)


def origin(root: Path) -> str | None:
    """The address of the remote repository `origin`; None without one."""
    return git(root, "config", "--default", "", "--get", "remote.origin.url") or None


def publish(root: Path, repository: str, baseline: str, name: str) -> None:
    """Pushes an experiment to the repository that machines share."""
    path = reference(baseline, name)
    git(root, "push", "--quiet", "--force", repository, f"{path}:{path}")


def fetch(root: Path, repository: str, baseline: str, name: str) -> None:
    """Fetches an experiment from there, in place of what this repository has of that name."""
    path = reference(baseline, name)
    git(root, "fetch", "--quiet", "--no-tags", repository, f"+{path}:{path}")


def fetch_unknown(root: Path, repository: str, baseline: str) -> None:
    """Fetches those that this repository has none of, by name: other machines' cells."""
    under = reference(baseline, "")
    there = [line.split()[1] for line in git(root, "ls-remote", repository, f"{under}*").splitlines()]
    here = set(git(root, "for-each-ref", "--format=%(refname)", under.rstrip("/")).splitlines())
    new = [f"{path}:{path}" for path in there if path not in here]
    if new:
        git(root, "fetch", "--quiet", "--no-tags", repository, *new)


def reference(baseline: str, name: str) -> str:
    """Where DVC looks for an experiment."""
    return f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"
