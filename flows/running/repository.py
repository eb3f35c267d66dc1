"""DVC as flows use it: its commands, its configuration, its repository, and its faults in one sentence."""

import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.running.process import run
from runtime.errors import StageError
from runtime.threads import quiet_waiting
from runtime.tracking import tracking_uri
from runtime.tracking.git import WANTED
from runtime.tracking.system import user

DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
# Its own words for faults of files, and what mends those.
FILES = re.compile(r"is invalid|validation failed")
REMEDIES = {
    FILES: "correct that file; `git checkout dvc.lock` gives the last good lock, and `dvc repro` does the rest",
    re.compile("config(uration)? (file )?error"): "correct .dvc/config.local, or .dvc/config",
    re.compile("is not a git repository"): f"a downloaded archive has none; {WANTED}",
    re.compile("Permission denied|Read-only file system"): "`chmod` or `chown` it, or work in a copy of yours",
}


def environment(root: Path, **more: str) -> dict[str, str]:
    """For commands in `root`: this environment's programs first, an absolute store, no telemetry, no spinning."""
    quiet = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # A stage must not resume, and at its end close, a run that someone else has opened.
    inherited = {key: value for key, value in os.environ.items() if key != "MLFLOW_RUN_ID"}
    # The code of this workspace, also where another one is what was installed.
    python = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    # DVC fails where the system has no name for its user.
    own = {
        "USER": os.environ.get("USER") or user(),
        "PATH": path,
        "PYTHONPATH": python,
        "MLFLOW_TRACKING_URI": tracking_uri(root),
    }
    return {**inherited, **quiet, **quiet_waiting(), **own, **more}


def dvc(root: Path, *arguments: str, stop: threading.Event | None = None) -> tuple[str, ...]:
    """The lines that a command of DVC says in the workspace at `root`; it is ended when `stop` is set.

    Raises:
        StageError: it failed.
    """
    done = run([*DVC, *arguments], cwd=root, env=environment(root), stop=stop or threading.Event())
    if done.returncode != 0:
        raise StageError(f"`dvc {arguments[0]}` failed in {root.name}: {dvc_error(done.lines)}")
    return done.lines


def dvc_error(lines: Sequence[str]) -> str:
    """What of the lines that a command of DVC has said names its fault, and what mends that where it is known."""
    said = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ") or FILES.search(line)]
    fault = next(iter([*said, *lines[-1:], "dvc said nothing."]))
    remedy = next((remedy for words, remedy in REMEDIES.items() if words.search(fault)), None)
    return f"{fault.rstrip('.:')}: {remedy}." if remedy else fault


def settings(root: Path) -> dict[str, Any]:
    """DVC's configuration in the workspace at `root`, of all levels, with absolute paths.

    Raises:
        StageError: a file of it is faulty.
    """
    from dvc.config import Config

    with _told():
        return Config(str(root / ".dvc")).read()


@contextmanager
def repository(root: Path) -> Iterator[Any]:
    """DVC's own view of the workspace at `root`.

    Raises:
        StageError: its configuration is faulty, or there is no git.
    """
    from dvc.repo import Repo

    with _told():
        repo = Repo(str(root))
    with repo:
        yield repo


@contextmanager
def _told() -> Iterator[None]:
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise StageError(dvc_error(str(error).splitlines())) from None
