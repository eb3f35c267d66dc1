"""What is referred to: by live MLflow runs, and by every commit and workspace of the repository."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import StageError
from runtime.tracking import check_answers, tracking_uri
from runtime.tracking.place import sqlite_file

HASH = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?\b")  # as DVC writes them
RECORDS = ("*dvc.lock", "*.dvc")  # files in which DVC notes hashes


def live_words(root: Path) -> frozenset[str]:
    """Every word in the tags of runs that are not deleted: hashes of inputs and outputs, ids of other runs.

    Of the store that is configured, and of the database beside the repository where that is another one.

    Raises:
        StageError: a store does not answer, so that nobody knows what its runs refer to.
    """
    return frozenset(word for uri in _stores(root) for value in _tag_values(uri) for word in value.split())


def recorded_hashes(root: Path) -> frozenset[str]:
    """Every hash that DVC has noted in a commit that a branch, tag, experiment or stash leads to, or in a workspace.

    DVC's own `gc` finds them too, but reads each commit's pipeline for a fifth of a second and gives up where the
    listing of a folder is not in the cache.
    """
    texts = [_blobs(root, _committed(root))]
    for workspace in _workspaces(root):
        texts.append(_blobs(workspace, _staged(workspace)))
        files = _git(workspace, "ls-files", "-z", "--cached", "--others", "--", *RECORDS).split("\0")
        texts += [(workspace / file).read_text() for file in files if file and (workspace / file).exists()]
    return frozenset(found for text in texts for found in HASH.findall(text))


def _stores(root: Path) -> list[str]:
    beside = f"sqlite:///{root.resolve()}/mlflow.db"
    known = dict.fromkeys((tracking_uri(root), beside))
    return [uri for uri in known if not (sqlite_file(uri) and not sqlite_file(uri).exists())]


def _tag_values(uri: str) -> Iterator[str]:
    check_answers(uri)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    token = ""
    while experiments and token is not None:
        page = client.search_runs(experiments, max_results=1000, page_token=token or None)
        for run in page:
            yield from run.data.tags.values()
        token = page.token or None


def _workspaces(root: Path) -> list[Path]:
    """The repository and its worktrees, cells of sweeps among them."""
    listed = _git(root, "worktree", "list", "--porcelain", "-z").split("\0")
    paths = [Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")]
    return [path for path in paths if path.exists()]


def _committed(root: Path) -> set[str]:
    """The ids of all versions of DVC's records that a reference leads to."""
    changes = ("--raw", "--no-abbrev", "--no-renames", "-m", "--format=")
    listed = _git(root, "log", "--all", "--full-history", *changes, "--", *RECORDS)
    return {blob for line in listed.splitlines() if line for blob in line.split()[2:4] if blob.strip("0")}


def _staged(workspace: Path) -> set[str]:
    listed = _git(workspace, "ls-files", "--stage", "--", *RECORDS)
    return {line.split()[1] for line in listed.splitlines()}


def _blobs(root: Path, ids: set[str]) -> str:
    return _git(root, "cat-file", "--batch", content="".join(f"{blob}\n" for blob in sorted(ids)))


def _git(root: Path, *arguments: str, content: str = "") -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], input=content, capture_output=True, text=True, errors="replace"
    )
    if done.returncode != 0:
        raise StageError(f"git cannot say what {root} refers to ({done.stderr.strip()}), so nothing is removed.")
    return done.stdout
