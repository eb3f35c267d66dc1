"""This machine's side of cells that run on others: what they need is sent, what they leave is fetched."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from flows.running.leases import Leases
from flows.running.repository import dvc, settings
from flows.running.workspace import cached_file, workspace
from flows.settings import Machine
from flows.sweeps import experiments
from flows.sweeps.cells import Cell
from flows.sweeps.job import Job, Jobs
from flows.sweeps.progress import score_files
from flows.sweeps.runners import Here
from runtime.tracking import tracking_uri
from runtime.tracking.place import shown

# Of a DVC remote; passwords and keys come from each machine's own environment, not through a cluster's records.
SETTINGS = ("url", "endpointurl", "region", "profile", "use_ssl", "ssl_verify", "account_name", "projectname", "user")


class Elsewhere(Here):
    """What the runners of other machines' cells have in common."""

    apart = True

    def __init__(self, jobs: Jobs, leases: Leases):
        super().__init__(jobs, leases)
        self.repository = repository(jobs.root, leases.machine)
        self._sent: set[str] = set()
        experiments.fetch_unknown(jobs.root, self.repository, jobs.commit)

    def send(self, stages: Iterable[str]) -> None:
        new = sorted(set(stages) - self._sent)
        if new:
            dvc(self.jobs.root, "push", "--run-cache", *new, stop=self.leases.stop)
        self._sent.update(new)

    def fetch(self, cell: Cell, commit: str) -> None:
        root, name = self.jobs.root, f"{self.jobs.sweep}-{cell.name}"
        if experiments.finished(root, self.jobs.commit).get(name, ("",))[0] != commit:
            experiments.fetch(root, self.repository, self.jobs.commit, name)
        scores = score_files(root, cell, commit)
        if not all(cached_file(root, md5).exists() for md5 in scores.values()):
            with workspace(root, commit, root / ".work" / "cells" / name) as folder:
                dvc(folder, "fetch", *scores, stop=self.leases.stop)

    def specification(self, job: Job) -> dict:
        """What the machine that runs the cell has to know."""
        machine = self.leases.machine.model_dump(include={"gpu_hour_price", "gpu_stages"})
        return {
            "job": asdict(job),
            "machine": machine,
            "repository": self.repository,
            "remote": remote_settings(self.jobs.root),
            "tracking": shown(tracking_uri(self.jobs.root)),
        }


def repository(root: Path, machine: Machine) -> str:
    """Where workers get commits and leave experiments: as `repository` says, `origin`, or this very folder."""
    return machine.repository or experiments.origin(root) or str(root.resolve())


def remote_settings(root: Path) -> dict[str, object]:
    """The settings of the default DVC remote that other machines are told; empty without one."""
    config = settings(root)
    name = config["core"].get("remote")
    return {key: value for key, value in config["remote"].get(name, {}).items() if key in SETTINGS}
