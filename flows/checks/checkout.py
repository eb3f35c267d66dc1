"""Checks of the checkout: git, its files, what killed processes have left, what an experiment would not see."""

from pathlib import Path

from flows.checks import Finding
from flows.checks.remote import check_mlflow
from flows.running.housekeeping import LOCK, holders, read_locks, stale_holders
from flows.running.process import lives
from flows.running.repository import repository
from lab.params import load
from runtime.execution.graph import read_recorded, read_stages
from runtime.execution.lock import if_free
from runtime.tracking import tracking_uri
from runtime.tracking.git import git, odd_checkout
from runtime.tracking.place import sqlite_file
from runtime.tracking.system import has_ended

NOTES = ("groups", "flows", "serve")  # folders of .work with a note for each process that runs


def check_git(root: Path) -> Finding:
    """Whether there is a commit to record, and a checkout that git and DVC take."""
    odd = odd_checkout(root)
    if odd:
        text, _, remedy = odd.partition(": ")
        return Finding("git", text, remedy)
    with repository(root):
        return Finding("git", f"commit {git(root, 'rev-parse', '--short', 'HEAD')}")


def check_files(root: Path) -> Finding:
    """Whether parameters, pipeline and lock are what they should be; a merge may have left its marks in them."""
    load()
    stages, recorded = read_stages(root), read_recorded(root)
    return Finding("files", f"params.yaml, dvc.yaml with {len(stages)} stages, dvc.lock with {len(recorded)}")


def check_killed(root: Path) -> Finding:
    """Notes of flows, stages and services whose process is gone."""
    left = [note.stem for folder in NOTES for note in (root / ".work" / folder).glob("*.txt") if not lives(note)]
    with if_free(root / LOCK) as free:
        if not free:
            return Finding("killed flows", "a flow runs now")
    remedy = "the next flow or `make serve` ends what still runs of it" if left else ""
    return Finding("killed flows", f"left {', '.join(left)}" if left else "none", remedy)


def check_locks(root: Path) -> Finding:
    """Entries of dead processes in DVC's lock file: their numbers may be given to others, which then block it."""
    found = read_locks(root)
    if found is None:
        return Finding("DVC's locks", "the file is cut off; every command of DVC fails", "the next flow mends it")
    dead = stale_holders(root)
    if dead:
        return Finding(
            "DVC's locks", f"held by dead processes: {', '.join(map(str, sorted(dead)))}", "the next flow removes them"
        )
    held = len(holders(found))
    return Finding("DVC's locks", f"{held} held, by living processes" if held else "none held")


def check_runs(root: Path) -> Finding:
    """MLflow runs that say RUNNING and whose process is gone."""
    uri = tracking_uri(root)
    database = sqlite_file(uri)
    if database and not database.exists():
        return Finding("MLflow runs", "none yet")
    if check_mlflow(root).remedy:
        return Finding("MLflow runs", "cannot be read", "see MLflow")
    from flows.garbage.runs import all_runs

    runs = all_runs(uri, "attributes.status = 'RUNNING'")
    dead = [run for run in runs if has_ended(run.data.tags)]
    if dead:
        names = ", ".join(f"{run.info.run_name} {run.info.run_id}" for run in dead)
        return Finding(
            "MLflow runs", f"RUNNING without a process: {names}", "the next stage or flow sets them to KILLED"
        )
    return Finding("MLflow runs", f"{len(runs)} running" if runs else "none that only seems to run")


def check_untracked(root: Path) -> Finding:
    """Programs and parameters that git does not track: a DVC experiment runs without them."""
    files = git(root, "ls-files", "--others", "--exclude-standard", "--", "*.py", "*.yaml").splitlines()
    if not files:
        return Finding("untracked files", "no program, no parameters")
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    text = f"{', '.join(files[:5])}{more}: an experiment would not see them"
    return Finding("untracked files", text, "`git add` them, or name them in .gitignore")
