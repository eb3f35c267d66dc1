"""The check of DVC's default remote."""

import os
from pathlib import Path

from flows.checks import Finding


def check_remote(root: Path) -> Finding:
    """Whether what is pushed has a place that answers; to an empty one nothing was pushed yet."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        name = repo.config["core"].get("remote")
        if not name:
            return Finding("DVC remote", "none; `make remote URL=...` sets one")
        try:
            remote = repo.cloud.get_remote()
            there = remote.fs.exists(remote.path)
            if not there:
                _check_above(remote.fs, remote.path)
        except Exception as error:  # each kind of remote has errors of its own
            said = str(error).splitlines()[0]
            return Finding("DVC remote", f"{name} does not answer ({said})", "mend it, or `make remote URL=...`")
    return Finding("DVC remote", f"{name} at {remote.path}" + ("" if there else ", empty yet"))


def _check_above(fs, path: str) -> None:
    """Returns when the first push can make the remote: in a folder that can be written, in a bucket that exists.

    Raises:
        OSError: it cannot.
    """
    if fs.protocol == "local":
        above = next(folder for folder in Path(path).parents if folder.exists())
        if not (above.is_dir() and os.access(above, os.W_OK)):
            raise PermissionError(f"{above} is no folder that can be written")
    elif not fs.exists(fs.parts(path)[0]):
        raise FileNotFoundError(f"there is no bucket {fs.parts(path)[0]}")
