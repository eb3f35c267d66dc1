"""What a stage reads, brought into a workspace with the DVC hashes that an earlier run has recorded."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from ruamel.yaml import YAML

from flows.running.forks import run_dvc
from flows.running.repro import dvc_error, environment
from runtime.errors import StageError
from runtime.execution.graph import Stage, overlap, read_stages
from runtime.execution.hashes import Hasher
from runtime.params import read_yaml

LOCK = "dvc.lock"


def fetch_data(folder: Path, data: Mapping[str, str]) -> None:
    """Brings pipeline outputs into a workspace, from the DVC cache or else from a remote.

    Args:
        data: the DVC hash of each path.

    Raises:
        StageError: some cannot be had.
    """
    stages = read_stages(folder)
    _pin(folder, stages, data)
    said = ""
    for command in ("checkout", "pull"):
        wrong = unlike(folder, data)
        if not wrong:
            return
        outs = [out for stage in stages.values() for out in stage.outs if any(overlap(out, path) for path in wrong)]
        said = _dvc(folder, command, "--force", *outs)
    wrong = unlike(folder, data)
    if wrong:
        raise StageError(
            f"{', '.join(wrong)} cannot be had as the run read it, neither from DVC's cache nor a remote ({said}); "
            "`dvc push` where it is and `make remote URL=...` here, or, if git keeps it, commit before a run reads it."
        )


def link_data_from_outside(root: Path, folder: Path, data: Mapping[str, str]) -> None:
    """Makes data that no stage makes, such as a user's folder, visible in a workspace.

    Raises:
        StageError: some of it is gone or has changed.
    """
    for path in data:
        if not (folder / path).exists() and (root / path).exists():  # git does not have it
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(root / path)
    wrong = unlike(folder, data)
    if wrong:
        raise StageError(f"{', '.join(wrong)} is no longer there as the run read it; put it back and try again.")


def made_by_pipeline(folder: Path, paths: Iterable[str]) -> list[str]:
    """Those of `paths` that are outputs of stages, or hold some, or lie in one: data, where others are code."""
    outs = [out for stage in read_stages(folder).values() for out in stage.outs]
    return [path for path in paths if any(overlap(path, out) for out in outs)]


def unlike(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """The paths in `folder` that are missing or do not have their hash."""
    hasher = Hasher(folder)
    return [path for path, md5 in hashes.items() if not (folder / path).exists() or hasher(path).md5 != md5]


def _pin(folder: Path, stages: Mapping[str, Stage], data: Mapping[str, str]) -> None:
    """Writes the hashes into `dvc.lock`, which may be of another moment."""
    path = folder / LOCK
    lock = read_yaml(path) if path.exists() else {"schema": "2.0", "stages": {}}
    for stage in stages.values():
        for out in set(stage.outs) & set(data):
            entry = lock["stages"].setdefault(stage.name, {"cmd": stage.cmd})
            others = [found for found in entry.get("outs", []) if found["path"] != out]
            entry["outs"] = [*others, {"path": out, "hash": "md5", "md5": data[out]}]
    with path.open("w") as file:
        YAML().dump(lock, file)


def _dvc(folder: Path, *arguments: str) -> str:
    """What DVC says when it fails."""
    done = run_dvc([*arguments, "-q"], cwd=folder, env=environment(folder), stop=threading.Event())
    return dvc_error(done.lines).rstrip(":.")
