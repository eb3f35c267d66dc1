"""Commands of git, and what it means when one fails."""

import os
import subprocess
from pathlib import Path

from runtime.errors import StageError

# Commits need an author, also where the user has none; and nobody answers a question.
SETTINGS = {
    "GIT_AUTHOR_NAME": "taca",
    "GIT_AUTHOR_EMAIL": "taca@localhost",
    "GIT_COMMITTER_NAME": "taca",
    "GIT_COMMITTER_EMAIL": "taca@localhost",
    "GIT_TERMINAL_PROMPT": "0",
}


def git(folder: Path, *arguments: str, content: bytes | None = None, fault: str = "") -> str:
    """What a command of git prints.

    Args:
        content: what it reads.
        fault: the sentence for when it fails, before git's own words.

    Raises:
        StageError: it failed.
    """
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, input=content, capture_output=True, env=os.environ | SETTINGS)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        fault = fault or f"`git {arguments[0]}` failed: see that this folder is a git repository with a commit"
        raise StageError(f"{fault} ({said[0]}).")
    return done.stdout.decode(errors="replace").strip()
