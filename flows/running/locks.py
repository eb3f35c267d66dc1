"""DVC's file of locks, put in order after a kill: DVC knows the holders by their process numbers alone."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

FILE = Path(".dvc") / "tmp" / "rwlock"


def drop_stale_locks(root: Path) -> bool:
    """Removes entries whose process is gone, or the whole file if a kill has cut it off; whether there were any.

    A number that another process has got since would hold the lock as long as that lives.
    """
    if read_locks(root) is not None and not stale_holders(root):
        return False
    from dvc.lock import make_lock

    path = root / FILE
    # DVC's own guard of the file, and a second look inside: a command may have written meanwhile.
    with make_lock(str(path.with_suffix(".lock")), tmp_dir=str(path.parent)):
        locks, stale = read_locks(root) or {}, stale_holders(root)
        write = {held: entry for held, entry in locks.get("write", {}).items() if entry["pid"] not in stale}
        read = {held: _others(readers, stale) for held, readers in locks.get("read", {}).items()}
        path.write_text(json.dumps({"write": write, "read": {held: left for held, left in read.items() if left}}))
    return True


def read_locks(root: Path) -> dict | None:
    """What DVC has locked; None for a file that is cut off."""
    path = root / FILE
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        return None


def holders(locks: Mapping) -> Iterator[dict]:
    """Everything that holds a lock: `pid` and `cmd`."""
    yield from locks.get("write", {}).values()
    for readers in locks.get("read", {}).values():
        yield from readers


def stale_holders(root: Path) -> set[int]:
    """Process numbers in the file that are nobody's, or of a process younger than the file."""
    locks = read_locks(root)
    return {entry["pid"] for entry in holders(locks) if not _lived(entry["pid"], root / FILE)} if locks else set()


def _lived(pid: int, file: Path) -> bool:
    try:
        return psutil.Process(pid).create_time() <= file.stat().st_mtime
    except psutil.NoSuchProcess:
        return False


def _others(readers: list[dict], stale: set[int]) -> list[dict]:
    return [entry for entry in readers if entry["pid"] not in stale]
