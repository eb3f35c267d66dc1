"""Hashes of the files in a weights folder: computed once, and held against what is published or was fetched first.

Two files beside the weights hold them. `weights.lock.json` is {path: sha256} of what the first fetch brought: keep it,
in version control or with the folder, and a file that changes at its source is noticed. `.hashes.json` only saves time.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from compbench.errors import CompbenchError
from compbench.weights.registry import WeightFile

LOCK = "weights.lock.json"
CACHE = ".hashes.json"


def sha256(path: Path) -> str:
    """64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(weights: Path, name: str) -> str:
    """The hash of `name` in the folder `weights`, read again only when its size or time of change is another."""
    status = (weights / name).stat()
    seen = [status.st_size, status.st_mtime_ns]
    cache = _read(weights / CACHE)
    if name not in cache or cache[name][:2] != seen:
        cache[name] = [*seen, sha256(weights / name)]
        # Weights may be shared and read-only: then each run reads them.
        with suppress(OSError):
            _write(weights / CACHE, cache)
    return cache[name][2]


def check(weights: Path, file: WeightFile, found: str, published: str = "") -> None:
    """Refuses a file whose hash is not the published or recorded one.

    Args:
        found: the file's sha256.
        published: what its server says of it, beside `file.sha256`.

    Raises: CompbenchError naming both hashes.
    """
    for expected in (file.sha256, published):
        if not found.startswith(expected):
            raise CompbenchError(
                f"{file.path} has the sha256 {found}, but {expected} is published for it: "
                f"delete {weights / file.path} if it is there, and fetch it again from {file.url} or a good copy."
            )
    recorded = _read(weights / LOCK).get(file.path, found)
    if recorded != found:
        raise CompbenchError(
            f"{file.path} has the sha256 {found}, but the first download had {recorded}, as {weights / LOCK} records: "
            "find the former file, or, if the new one is meant, remove that entry; then run the command again."
        )


def record(weights: Path, file: WeightFile, found: str) -> None:
    """Notes the hash that every later file at this path must have."""
    recorded = _read(weights / LOCK)
    if file.path not in recorded:
        _write(weights / LOCK, dict(sorted({**recorded, file.path: found}.items())))


def _read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def _write(path: Path, content: Mapping) -> None:
    """A file with this name is a whole one, whenever the process is killed."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(unfinished, path)
