"""The work folder of one stage execution, `.work/<stage>-<hash of its inputs>/`.

A killed stage finds its unfinished work there, since the same inputs lead to the same folder. Finished outputs are
built in it too and put into place whole. A copy (hard links, so no space) stays until `dvc.lock` has recorded them: DVC
deletes a stage's outputs before it runs the stage, and may be killed between the stage's end and its own note of it.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from runtime.execution.lock import if_free

FOLDER = ".work"
DONE = "done.json"  # in a work folder: the hashes of its finished outputs
RESERVE_BYTES = 2**20

Recorded = Mapping[str, tuple[str, dict[str, str]]]  # as `graph.read_recorded` returns it


class Work:
    """The work folder of stage `name` for the inputs that `fingerprint` stands for."""

    def __init__(self, root: Path, name: str, fingerprint: str):
        self.root = root
        self.name = name
        self.fingerprint = fingerprint
        self.folder = root / FOLDER / f"{_stem(name)}-{fingerprint}"

    def prepare(self, recorded: Recorded) -> bool:
        """Makes the folder ready and drops what other inputs left; whether all outputs are finished in it.

        Finished outputs that `dvc.lock` has recorded are dropped as well: DVC would not have run the stage again
        without being forced to.
        """
        for folder in (self.root / FOLDER).iterdir():
            if _owner(folder) == _stem(self.name) and folder != self.folder:
                shutil.rmtree(folder)
        if _is_recorded(self.folder, recorded.get(self.name)):
            shutil.rmtree(self.folder)
        self.folder.mkdir(exist_ok=True)
        (self.folder / "reserve").write_bytes(os.urandom(RESERVE_BYTES))
        return (self.folder / DONE).exists()

    def fresh(self, path: str) -> Path:
        """Where the output that will be `path` is built."""
        return self.folder / "outs" / path

    def release_reserve(self) -> None:
        """Frees the space that lets the record of a failure be written when the disk is full."""
        (self.folder / "reserve").unlink(missing_ok=True)

    def finish(self, hashes: Mapping[str, str]) -> None:
        """Notes that all outputs are built, with their hashes."""
        _write_whole(self.folder / DONE, json.dumps(hashes))

    def drop_all_but_outs(self) -> None:
        """Frees what a finished stage needs no more, such as checkpoints."""
        for entry in self.folder.iterdir():
            if entry.name not in (DONE, "outs"):
                remove(entry)

    def forget(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder)

    def publish(self, path: str) -> None:
        """Puts one finished output into place: all of it or, when killed, nothing."""
        target = self.root / path
        part = target.with_name(f".{target.name}.publishing")
        remove(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(self.fresh(path), part)
        remove(target)
        part.rename(target)


def lock_path(root: Path, name: str) -> Path:
    """The file that the writer of stage `name` locks."""
    return root / FOLDER / "locks" / f"{_stem(name)}.lock"


def sweep(root: Path, names: list[str], recorded: Recorded) -> None:
    """Drops the finished work of all idle stages whose outputs `dvc.lock` has recorded."""
    by_stem = {_stem(name): name for name in names}
    for folder in (root / FOLDER).iterdir():
        name = by_stem.get(_owner(folder))
        if name and _is_recorded(folder, recorded.get(name)):
            with if_free(lock_path(root, name)) as free:
                if free:
                    shutil.rmtree(folder)


def remove(path: Path) -> None:
    """Removes a file, link or folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _stem(name: str) -> str:
    return name.replace("@", "-")


def _owner(folder: Path) -> str:
    """The stem of the stage that a folder in `.work` belongs to."""
    return folder.name.rpartition("-")[0]


def _is_recorded(folder: Path, recorded: tuple[str, dict[str, str]] | None) -> bool:
    done = folder / DONE
    fingerprint = folder.name.rpartition("-")[2]
    return recorded is not None and done.exists() and recorded == (fingerprint, json.loads(done.read_text()))


def _write_whole(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link)
    else:
        _link(source, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copy2(source, target)
