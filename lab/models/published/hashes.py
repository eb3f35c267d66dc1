"""SHA-256 of files that are too large to be read at every stage: one read in full, then known by its stat."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from huggingface_hub import constants

MEMORY = Path(constants.HF_HOME) / "taca" / "hashes.json"


def sha256(path: Path) -> str:
    """64 hex digits; 24 GB are read once, and again when size, time or inode of the file is another."""
    path = path.resolve()  # the hub's cache links names to contents
    status = path.stat()
    seen = [status.st_size, status.st_mtime_ns, status.st_ino]
    known = _remembered().get(str(path))
    if known and known[:3] == seen:
        return known[3]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _remember(str(path), [*seen, digest])
    return digest


def _remembered() -> dict[str, list]:
    with suppress(OSError, ValueError):  # none yet, or another user's
        return json.loads(MEMORY.read_text())
    return {}


def _remember(path: str, entry: list) -> None:
    # In a cache that others own or that is read-only, hashes are computed anew at each stage: slow, and still right.
    with suppress(OSError):
        MEMORY.parent.mkdir(parents=True, exist_ok=True)
        # Stages that end together may each lose the other's entry, but none reads half a file.
        part = MEMORY.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(_remembered() | {path: entry}))
        part.replace(MEMORY)
