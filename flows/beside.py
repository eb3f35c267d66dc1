"""A flow beside its user's work: in a workspace of a branch's commit, its results an experiment on that commit."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.running.graph import changed, read_graph
from flows.running.process import end_left
from flows.running.record import Record
from flows.running.repository import dvc
from flows.running.workspace import workspace
from flows.sweeps import experiments
from lab.params.profile import varied_text
from runtime.errors import StageError
from runtime.execution.execution import EXPERIMENT, WORK
from runtime.execution.lock import if_free
from runtime.execution.work import drop_recorded
from runtime.tracking.git import git
from runtime.tracking.place import HOME

BRANCHES = Path(".work") / "branches"  # the workspaces


@dataclass(frozen=True)
class Place:
    """Where a flow works.

    Attributes:
        home: the user's checkout, whose settings, store and unfinished work are used.
        root: the workspace; `home` itself without a branch.
        commit: that of the branch.
        experiment: the name of what the results become; empty without a branch, where they stay where they are.
    """

    home: Path
    root: Path
    commit: str = ""
    experiment: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """By which runs say to which experiment they belong."""
        return {"dvc.exp_name": self.experiment, "dvc.exp_baseline": self.commit} if self.experiment else {}

    def keep(self, record: Record) -> None:
        """Makes the experiment of parameters, dvc.lock and the metrics that are up to date."""
        if not self.experiment:
            return
        graph = read_graph(self.root)
        stale = graph.touched(changed(self.root))
        outs = [out for name, stage in graph.stages.items() if name not in stale for out in stage.outs]
        metrics = [out for out in outs if out.startswith(experiments.METRICS)]
        message = f"taca-flow {self.experiment}"
        commit = experiments.save(self.root, self.commit, self.experiment, message, metrics)
        record.belongs(self.experiment, commit)
        drop_recorded(self.root, self.home / ".work")


@contextmanager
def place(
    home: Path, label: str, branch: str | None, profile: str | None, overrides: Mapping[str, Any] | None
) -> Iterator[Place]:
    """Where a flow works, which is this process's folder inside.

    Without a branch that is `home`. With one it is a workspace of the branch's commit; parameters that differ from it
    are committed first, so that a run's commit says all that it ran with.

    Args:
        label: of the flow, which the experiment's name begins with.

    Raises:
        StageError: there is no such branch, a parameter is faulty, or the same flow runs already.
    """
    if branch is None:
        if profile or overrides:
            raise StageError(
                "`profile` and `overrides` go with `branch`, such as HEAD: in the checkout itself they would replace "
                "your params.yaml, so name a branch, or leave them out."
            )
        yield Place(home, home)
        return
    fault = f"git knows no branch, tag or commit {branch!r}: name one that `git branch` shows"
    commit = git(home, "rev-parse", "--verify", "--end-of-options", f"{branch}^{{commit}}", fault=fault)
    asked = json.dumps([commit, profile, overrides or {}], sort_keys=True)
    name = f"{label}-{hashlib.sha1(asked.encode(), usedforsecurity=False).hexdigest()[:8]}"
    with if_free(lock(home, name)) as free:
        if not free:
            raise StageError(f"This flow runs already on {branch} with the same parameters, as {name}: wait for it.")
        for note in (home / ".work" / "groups").glob(f"{name}-*.txt"):
            end_left(note)
        found = Place(home, home / BRANCHES / name, commit, name)
        with workspace(home, commit, found.root), chdir(found.root), _handed_over(found):
            if profile or overrides:
                _commit_params(found, varied_text(profile, overrides or {}))
            _bring(found)
            yield found


def lock(home: Path, name: str) -> Path:
    """Held by the flow that works in the workspace of this name."""
    return home / ".work" / "locks" / f"branch-{name}.lock"


@contextmanager
def _handed_over(found: Place) -> Iterator[None]:
    """What stages of the workspace have to know, in the environment that they get."""
    told = {HOME: str(found.home), WORK: str(found.home / ".work")}
    told |= {EXPERIMENT[tag]: value for tag, value in found.tags.items()}
    before = {key: os.environ[key] for key in told if key in os.environ}
    os.environ.update(told)
    try:
        yield
    finally:
        for key in told:
            del os.environ[key]
        os.environ.update(before)


def _commit_params(found: Place, text: str) -> None:
    """Checks out a commit of other parameters: always the same one, so that cells on it are found again."""
    (found.root / "params.yaml").write_text(text)
    git(found.root, "add", "params.yaml")
    who = f"taca <taca@localhost> {git(found.root, 'show', '-s', '--format=%ct', found.commit)} +0000"
    parts = [f"tree {git(found.root, 'write-tree')}", f"parent {found.commit}", f"author {who}", f"committer {who}"]
    content = "\n".join([*parts, "", f"Parameters of {found.experiment}", ""]).encode()
    git(found.root, "reset", "--soft", git(found.root, "hash-object", "-t", "commit", "-w", "--stdin", content=content))


def _bring(found: Place) -> None:
    """What an earlier flow of the same commit and parameters left, and of all outputs those that the cache has."""
    earlier = experiments.reference(found.commit, found.experiment)
    if git(found.root, "for-each-ref", earlier):
        made = git(found.root, "ls-tree", "-r", "-z", "--name-only", earlier, "dvc.lock", *experiments.METRICS)
        git(found.root, "restore", f"--source={earlier}", "--", *filter(None, made.split("\0")))
    dvc(found.root, "checkout", "--quiet", "--allow-missing")
