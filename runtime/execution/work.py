"""The work folder of a stage for certain inputs, `.work/<stage>-<hash of its inputs>/`.

A killed stage finds its unfinished work there, since the same inputs lead to the same folder, from each of the
workspaces that share one `.work` (`TACA_WORK`). Finished outputs are built in it too and put into place whole. A copy
(hard links, so no space) stays until `dvc.lock` has recorded them: DVC deletes a stage's outputs before it runs the
stage, and may be killed between the stage's end and its own note of it.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from runtime.execution.graph import read_recorded
from runtime.execution.lock import if_free, sole_writer

DONE = "done.json"  # in a work folder: the hashes of its finished outputs
CARDS = "cards"  # in a work folder: the cards of outputs that are models
LOCK = "lock"  # in a work folder: held by whoever works in it
RESERVE_BYTES = 2**20


class Work:
    """The folder in `everything` of stage `name` for the inputs that `fingerprint` stands for."""

    def __init__(self, everything: Path, name: str, fingerprint: str):
        self.name = name
        self.folder = everything / f"{name.replace('@', '-')}-{fingerprint}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the folder for this process."""
        with sole_writer(self.folder / LOCK, self.name):
            (self.folder / "reserve").write_bytes(os.urandom(RESERVE_BYTES))
            yield

    def finished(self) -> dict[str, str] | None:
        """The hashes of the finished outputs; None before all are."""
        with suppress(FileNotFoundError):
            return json.loads((self.folder / DONE).read_text())
        return None

    def fresh(self, path: str) -> Path:
        """Where the output that will be `path` is built."""
        return self.folder / "outs" / path

    def keep_card(self, path: str, text: str) -> None:
        """Keeps the card of the output that will be `path`, which is a model; as long as the output itself."""
        card = self.folder / CARDS / path
        card.parent.mkdir(parents=True, exist_ok=True)
        card.write_text(text, encoding="utf-8")

    def card(self, path: str) -> str | None:
        """The card of an output; None of one that is no model."""
        card = self.folder / CARDS / path
        return card.read_text(encoding="utf-8") if card.exists() else None

    def release_reserve(self) -> None:
        """Frees the space that lets the record of a failure be written when the disk is full."""
        (self.folder / "reserve").unlink(missing_ok=True)

    def finish(self, hashes: Mapping[str, str]) -> None:
        """Notes that all outputs are built, with their hashes."""
        part = self.folder / "done.part"
        part.write_text(json.dumps(hashes))
        part.rename(self.folder / DONE)

    def drop_all_but_outs(self) -> None:
        """Frees what a finished stage needs no more, such as checkpoints."""
        for entry in self.folder.iterdir():
            if entry.name not in (DONE, LOCK, CARDS, "outs"):
                remove(entry)

    def forget(self) -> None:
        """Removes the folder, which this process holds; who comes meanwhile finds none, not half of it."""
        gone = mkdtemp(prefix="gone-", dir=self.folder.parent)
        self.folder.rename(gone)
        shutil.rmtree(gone)

    def publish(self, root: Path, path: str) -> None:
        """Puts one finished output into place in `root`: all of it or, when killed, nothing."""
        target = root / path
        part = target.with_name(f".{target.name}.publishing")
        remove(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.fresh(path).is_dir():
            shutil.copytree(self.fresh(path), part, copy_function=_link)
        else:
            _link(self.fresh(path), part)
        remove(target)
        part.rename(target)

    def open_to_others(self, path: str) -> None:
        """Gives the files of an output the rights of the user's own: safetensors are written for one's eyes alone."""
        mask = os.umask(0)
        os.umask(mask)
        for file in (self.fresh(path), *self.fresh(path).rglob("*")):
            if file.is_file() and not file.stat().st_mode & 0o077:
                file.chmod(0o666 & ~mask)


def drop_recorded(root: Path, work: Path) -> None:
    """Drops from `work` the finished work that the `dvc.lock` of `root` has recorded, where nobody is at it."""
    for name, (fingerprint, hashes) in read_recorded(root).items():
        found = Work(work, name, fingerprint)
        if found.finished() == hashes:
            with if_free(found.folder / LOCK) as free:
                if free:
                    found.forget()


def remove(path: Path) -> None:
    """Removes a file, link or folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copy2(source, target)
