"""Makes a run of a stage again and says whether it comes out the same: `python -m flows.rebuild RUN_ID`.

In a workspace of its own, at the run's commit with the run's edits, on the inputs that it read. The stage is executed
for real; nothing is taken from DVC's run cache.
"""

import argparse
import math
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.errors import TOLD, told
from flows.rebuilding.rerun import prepared, run_again
from flows.rebuilding.runs import StageRun, changed_surroundings, find_run
from flows.rebuilding.verdict import Kind, Verdict, judged
from runtime.errors import StageError
from runtime.execution.lock import if_free
from runtime.execution.watch import Stopped, stoppable
from runtime.tracking.git import git
from runtime.tracking.tree import SKIPPED

TOLERANCE = 1e-6
# MLflow's own seven tries take four minutes.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}


def main() -> None:
    """Rebuilds the run and prints the verdict; status 0 when it is identical or within tolerance, else 1."""
    parser = argparse.ArgumentParser(prog="python -m flows.rebuild", description=__doc__.splitlines()[0])
    parser.add_argument("run_id", metavar="RUN_ID", help="an MLflow run of a stage")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help=f"largest difference between two numbers of metrics and tables that counts as none ({TOLERANCE:g})",
    )
    options = parser.parse_args()
    try:
        with told(), stoppable(lambda: None):
            verdict = rebuild(Path.cwd(), options.run_id, options.tolerance)
    except Stopped as stop:
        print(f"The rebuild stopped: {stop}; nothing of it is left, and there is no verdict.", file=sys.stderr)
        sys.exit(128 + stop.signum)
    print(verdict.as_text())
    sys.exit(0 if verdict.kind in (Kind.IDENTICAL, Kind.TOLERABLE) else 1)


def rebuild(root: Path, run_id: str, tolerance: float) -> Verdict:
    """Executes the run's stage again and writes the verdict into the run.

    Raises:
        StageError: before anything starts: the run or its commit is not there, or is being rebuilt.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise StageError(
            f"--tolerance is {tolerance:g}: it must be a finite number of at least 0, such as {TOLERANCE:g}."
        )
    os.environ.update(QUIET)
    original = find_run(root, run_id)
    missing = f"Commit {original.commit} of run {run_id} is not in this repository: `git fetch --all` may bring it"
    git(root, "cat-file", "-e", f"{original.commit}^{{commit}}", fault=missing)
    with if_free(root / ".work" / "locks" / f"rebuild-{run_id}.lock") as free:
        if not free:
            raise StageError(f"Run {run_id} is being rebuilt already: wait for that, or stop it.")
        verdict = _verdict(root, original, tolerance)
    original.client.log_dict(run_id, asdict(verdict), "rebuild/verdict.json")
    original.client.log_text(run_id, verdict.as_markdown(), "rebuild/verdict.md")
    for key, value in verdict.tags().items():
        original.client.set_tag(run_id, key, value)
    return verdict


def _verdict(root: Path, original: StageRun, tolerance: float) -> Verdict:
    from flows.rebuilding.compare import all_differences

    of = {
        "run_id": original.id,
        "stage": original.stage,
        "commit": original.commit,
        "tolerance": tolerance,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    print(f"Executing {original.stage} of run {original.id} again, at commit {original.commit[:10]}.", flush=True)
    folder = root / ".work" / "rebuild" / original.id
    try:
        with TemporaryDirectory() as kept:
            original.client.download_artifacts(original.id, "", kept)
            with prepared(root, original, folder, Path(kept)):
                fresh = run_again(root, original, folder)
                found = all_differences(original, fresh, folder, Path(kept))
            around = changed_surroundings(original, fresh, Path(kept))
    except TOLD as error:
        lost = original.tags.get(SKIPPED)
        hint = f" Untracked files that the run did not keep: {lost}." if lost else ""
        return Verdict(kind=Kind.CANNOT, why=f"{error}{hint}", **of)
    fresh.client.set_tag(fresh.id, "rebuild.of", original.id)
    kind, why = judged(found, tolerance)
    return Verdict(kind=kind, why=why, rebuild_id=fresh.id, differences=found, environment=around, **of)


if __name__ == "__main__":
    main()
