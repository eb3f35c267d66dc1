"""Objects in DVC's cache that nothing refers to: no commit, no workspace, no live run."""

import json
import re
import time
from pathlib import Path

from flows.garbage import Garbage
from flows.running.workspace import cache_folder
from runtime.tracking.git import git

HASH = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?\b")  # as DVC writes them
RECORDS = ("*dvc.lock", "*.dvc")  # files in which DVC notes hashes
# Seconds that an object is left alone: a `dvc repro` elsewhere may not have noted yet what it has just stored.
YOUNG = 3600.0


def unused_objects(root: Path, words: frozenset[str], young: float = YOUNG) -> Garbage:
    """Objects whose hash stands in no commit, workspace or tag of a live run, nor in a folder listing that does."""
    cache = cache_folder(root)
    if not cache.is_relative_to(root.resolve()):
        # Others may keep their objects there.
        return Garbage("DVC", f"left alone: {cache} is not this repository's own; see `dvc gc --projects`")
    # One that a kill has cut off has a name that is no hash.
    objects = {path.parent.name + path.name: path for path in cache.glob("[0-9a-f][0-9a-f]/*")}
    named = recorded_hashes(root) | {word for word in words if HASH.fullmatch(word)}
    listings = [objects[name] for name in named if name.endswith(".dir") and name in objects]
    used = named | {entry["md5"] for listing in listings for entry in json.loads(listing.read_text())}
    unnamed = [path for name, path in objects.items() if name not in used]
    # When the file came into the cache: a link to it, or a change of its rights, counts as its making does.
    unused = [path for path in unnamed if path.stat().st_ctime <= time.time() - young]
    size = sum(path.stat().st_size for path in unused)
    text = f"{len(unused)} of {len(objects)} objects in the cache"
    if len(unused) < len(unnamed):
        text += f", and {len(unnamed) - len(unused)} of the last hour, which are left for now"
    return Garbage("DVC", text, size=size, remove=lambda: _remove(unused))


def _remove(paths: list[Path]) -> None:
    # Listings first: a kill in between leaves no folder that looks whole.
    for path in sorted(paths, key=lambda path: path.suffix != ".dir"):
        path.unlink()


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
