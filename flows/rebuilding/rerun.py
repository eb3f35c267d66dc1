"""The stage of an earlier run executed again: in a workspace as that run found it, by `dvc repro -s`."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.rebuilding.compare import Difference
from flows.rebuilding.inputs import fetch_data, link_data_from_outside, made_by_pipeline, unlike
from flows.rebuilding.runs import StageRun
from flows.running.forks import run_dvc
from flows.running.repro import dvc_error, environment
from flows.running.workspace import workspace
from runtime.errors import StageError
from runtime.execution.faults import read_failure
from runtime.execution.graph import Stage, read_stages
from runtime.tracking import tracking_uri
from runtime.tracking.tree import COPIED, DIFF, UNTRACKED


@contextmanager
def prepared(root: Path, original: StageRun, folder: Path) -> Iterator[tuple[Stage, list[Difference]]]:
    """A workspace at `folder` with all that the run read: its stage, and code there that is not what the run read.

    Raises:
        StageError: some of it cannot be had.
    """
    with TemporaryDirectory() as kept:
        files = {name: original.artifact(name, Path(kept)) for name in (DIFF, UNTRACKED, *COPIED)}
        diff = files[DIFF].read_bytes() if files[DIFF] else None
        with workspace(root, original.commit, folder, diff, files[UNTRACKED]):
            for name in COPIED:
                if files[name]:
                    (folder / name).write_bytes(files[name].read_bytes())
            stage = _stage(original, folder)
            yield stage, _inputs(root, original, stage, folder)


def run_again(root: Path, original: StageRun, folder: Path, note: Path) -> StageRun:
    """Executes the stage in its workspace, whatever DVC thinks of it; the run that records that.

    Args:
        note: names the process group while it lives.

    Raises:
        StageError: the stage fails.
    """
    began = int(time.time() * 1000)
    finished = run_dvc(
        # Neither taken from the run cache nor put into the cache.
        ["repro", "-q", "-s", "-f", "--no-run-cache", "--no-commit", original.stage],
        cwd=folder,
        env=environment(folder, MLFLOW_TRACKING_URI=tracking_uri(root), TACA_PARENT_RUN_ID=original.id),
        stop=threading.Event(),
        on_line=print,
        note=note,
    )
    if finished.returncode != 0:
        failure = read_failure(folder, original.stage)
        raise StageError(f"The stage failed: {failure['message'] if failure else dvc_error(finished.lines)}")
    fresh = original.run_again_since(began)
    if fresh is None:
        raise StageError("The stage ran, but recorded no run below this one: its code is older than that of rebuilds.")
    return fresh


def _stage(original: StageRun, folder: Path) -> Stage:
    stages = read_stages(folder)
    if original.stage not in stages:
        raise StageError(f"dvc.yaml at commit {original.commit} has no stage {original.stage}.")
    return stages[original.stage]


def _inputs(root: Path, original: StageRun, stage: Stage, folder: Path) -> list[Difference]:
    hashes = {path: original.recorded("dep", path) for path in stage.deps}
    data = {path: hashes[path] for path in made_by_pipeline(folder, stage.deps)}
    fetch_data(folder, data)
    outside = {path: md5 for path, md5 in original.inputs().items() if path not in hashes}
    link_data_from_outside(root, folder, outside)
    other = unlike(folder, {path: md5 for path, md5 in hashes.items() if path not in data})
    gone = [path for path in other if not (folder / path).exists()]
    if gone:
        raise StageError(f"{', '.join(gone)} is neither in commit {original.commit} nor among what the run has kept.")
    return [Difference(f"code {path}", None, "not what the run read") for path in other]
