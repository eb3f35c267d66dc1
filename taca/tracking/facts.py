"""What a run is recorded with: the commit and what differs from it, the machine, the packages."""

import getpass
import platform
import socket
import subprocess
from importlib.metadata import distributions
from pathlib import Path


def git_facts(root: Path, outs: list[str]) -> tuple[dict[str, str], str]:
    """Tags for commit and dirtiness, and the diff of tracked files; outputs and `dvc.lock` are not counted as edits."""
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return {"git.commit": "none", "git.dirty": "unknown"}, ""
    edited = ["--", ".", ":(exclude)dvc.lock", *(f":(exclude){out}" for out in outs)]
    dirty = bool(_git(root, "status", "--porcelain", *edited))
    diff = _git(root, "diff", "HEAD", "--no-ext-diff", *edited) if dirty else ""
    return {"git.commit": commit, "git.dirty": str(dirty).lower(), "mlflow.source.git.commit": commit}, diff


def machine_facts() -> dict[str, str]:
    """Tags for who runs this where."""
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "mlflow.user": getpass.getuser(),
    }


def packages() -> str:
    """Installed packages as `name==version` lines, sorted."""
    lines = {f"{found.metadata['Name']}=={found.version}" for found in distributions()}
    return "\n".join(sorted(lines, key=str.lower)) + "\n"


def _git(root: Path, *arguments: str) -> str:
    """What a git command prints, without the last newline; nothing when it fails (no repository, no commit yet)."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, errors="replace")
    return done.stdout.rstrip("\n") if done.returncode == 0 else ""
