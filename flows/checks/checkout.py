"""Checks of the checkout: whose it is, and whether its files can be read."""

from pathlib import Path

from flows.checks import Finding
from flows.running.dvc import repository
from lab.params import load
from runtime.execution.graph import read_recorded, read_stages
from runtime.tracking.git import git, odd_checkout


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
