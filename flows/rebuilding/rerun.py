"""The stage of an earlier run executed again: in a workspace as that run found it, by `dvc repro -s`."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flows.rebuilding.runs import StageRun
from flows.running.process import end_noted, run
from flows.running.repository import DVC, dvc_error, environment
from flows.running.repro import State, reproduce
from flows.running.workspace import workspace
from runtime.errors import StageError
from runtime.execution.graph import Stage, overlap, read_stages
from runtime.execution.hashes import Hasher
from runtime.tracking import tracking_uri
from runtime.tracking.tree import COPIED, DIFF, UNTRACKED

# Neither taken from the run cache nor put into the cache.
FOR_REAL = ("--quiet", "--force", "--no-run-cache", "--no-commit")


@contextmanager
def prepared(root: Path, original: StageRun, folder: Path, kept: Path) -> Iterator[None]:
    """A workspace at `folder` with all that the run read, inside; `kept` has the run's artifacts.

    Raises:
        StageError: some of it cannot be had.
    """
    for note in folder.glob(".work/groups/*.txt"):
        end_noted(note)  # what a killed rebuild has left running
    diff, untracked = (kept / name if (kept / name).exists() else None for name in (DIFF, UNTRACKED))
    with workspace(root, original.commit, folder, diff and diff.read_bytes(), untracked):
        for name in COPIED:
            if (kept / name).exists():
                (folder / name).write_bytes((kept / name).read_bytes())
        stages = read_stages(folder)
        if original.stage not in stages:
            raise StageError(f"dvc.yaml at commit {original.commit} has no stage {original.stage}.")
        bring_data(root, folder, stages, original.inputs())
        gone = [path for path in stages[original.stage].deps if not (folder / path).exists()]
        if gone:
            raise StageError(
                f"{', '.join(gone)} is neither in commit {original.commit} nor among what the run has kept."
            )
        yield


def run_again(root: Path, original: StageRun, folder: Path) -> StageRun:
    """Executes the stage in its workspace, whatever DVC thinks of it; the run that records that.

    Raises:
        StageError: the stage fails.
    """
    began = int(time.time() * 1000)
    env = environment(folder, MLFLOW_TRACKING_URI=tracking_uri(root), TACA_PARENT_RUN_ID=original.id)
    outcome = reproduce(original.stage, root=folder, env=env, stop=threading.Event(), on_line=print, options=FOR_REAL)
    if outcome.state is State.FAILED:
        raise StageError(f"The stage failed: {outcome.message}")
    return original.again(began)


def bring_data(root: Path, folder: Path, stages: Mapping[str, Stage], data: Mapping[str, str]) -> None:
    """Has data in the workspace `folder`: from DVC's cache or a remote, or else by links to what is in `root`.

    Args:
        data: the DVC hash of each path, whether a stage makes it or, as a user's folder, none.

    Raises:
        StageError: some cannot be had as it was.
    """
    outs = [out for stage in stages.values() for out in stage.outs if any(overlap(out, path) for path in data)]
    said = "no stage makes it"
    if outs:  # without a target DVC would bring everything
        command = [*DVC, "pull", "--quiet", "--force", *outs]
        said = dvc_error(run(command, cwd=folder, env=environment(folder), stop=threading.Event()).lines)
    for path in data:
        if not (folder / path).exists() and (root / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(root / path)
    hasher = Hasher(folder)
    wrong = [path for path, md5 in data.items() if not (folder / path).exists() or hasher(path).md5 != md5]
    if wrong:
        raise StageError(
            f"{', '.join(wrong)} cannot be had as the run read it, neither from DVC's cache nor a remote "
            f"({said.rstrip(':.')}); put it back, `dvc push` where it is and `make remote URL=...` here, or, if git "
            "keeps it, commit before a run reads it."
        )
