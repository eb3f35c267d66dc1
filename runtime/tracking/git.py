"""Commands of git, and what it means when one fails."""

import os
import subprocess
from pathlib import Path
from typing import Any

from runtime.errors import StageError

# Commits need an author, also where the user has none; nobody answers a question, and words are known in English.
SETTINGS = {
    "GIT_AUTHOR_NAME": "taca",
    "GIT_AUTHOR_EMAIL": "taca@localhost",
    "GIT_COMMITTER_NAME": "taca",
    "GIT_COMMITTER_EMAIL": "taca@localhost",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
# Without locks: a commit that the user makes at this moment must not find the index busy. And whoever owns the
# checkout: its programs run already, so that git has nothing left to protect, and the record would lack the commit.
COMMAND = ("git", "--no-optional-locks", "-c", "safe.directory=*")
WANTED = "`git init && git add -A && git commit -m start` makes one"


def git_bytes(folder: Path, *arguments: str, content: bytes | None = None, fault: str = "", nothing: int = 0) -> bytes:
    """What a command of git prints.

    Args:
        content: what it reads.
        fault: the sentence for when it fails, before git's own words.
        nothing: a status that says, without a word, that it has found nothing.

    Raises:
        StageError: it failed.
    """
    done = _run([*COMMAND, "-C", str(folder), *arguments], content)
    lines = done.stderr.decode(errors="replace").splitlines()
    said = [line for line in lines if line and not line.startswith(("warning:", "hint:"))]  # which say no fault
    if done.returncode not in (0, nothing) or (nothing and said):
        wanted = f"see that this folder is a git repository with a commit; {WANTED}"
        fault = fault or f"`git {arguments[0]}` failed in {folder}: {wanted}"
        raise StageError(f"{fault} ({next(iter([*said, *lines]), 'it said nothing')}).")
    return done.stdout


def git(folder: Path, *arguments: str, **options: Any) -> str:
    """As `git_bytes`, in text without blanks around it."""
    return git_bytes(folder, *arguments, **options).decode(errors="replace").strip()


def odd_checkout(root: Path) -> str | None:
    """What is odd about the checkout, with the remedy: no git, no commit, another owner; None when nothing is."""
    done = _run(["git", "-C", str(root), "rev-parse", "HEAD", "HEAD:./"])
    if done.returncode == 0:
        return None
    if b"dubious ownership" in done.stderr or b"unsafe repository" in done.stderr:
        return (
            f"{root} belongs to another user, so git itself refuses it, though runs are recorded with its commit: "
            f"`git config --global --add safe.directory {root}`, or `chown` it."
        )
    return f"{root} is no git repository with a commit, such as a downloaded archive, so runs have none: {WANTED}."


def _run(command: list[str], content: bytes | None = None) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(command, input=content, capture_output=True, env=os.environ | SETTINGS)
    except FileNotFoundError:
        raise StageError("There is no program `git` here, which says what code runs: install it.") from None
