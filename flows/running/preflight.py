"""What the stages of a flow lack, before the first of them runs."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from flows.running.repository import environment


def preflight(root: Path, stages: Iterable[str]) -> str:
    """What `python -m lab.preflight` says of these stages in the workspace at `root`; nothing where all is there.

    A program, since it goes online where parameters allow that, and stages must not inherit it.
    """
    command = [sys.executable, "-m", "lab.preflight", *stages]
    done = subprocess.run(command, cwd=root, env=environment(root), stderr=subprocess.PIPE, text=True)
    return done.stderr.strip() if done.returncode != 0 else ""
