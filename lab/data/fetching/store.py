"""Where fetched images stay: no byte is asked for twice, by this run or by a later one.

    blobs/ab/abcd...         original bytes, by their sha256
    answers/12/1234...json   for each URL (its sha256) that was fetched: the sha256 of its bytes
    refused/12/1234...json   for each that could not be: the reason, and the settings that it hangs on
    partial/                 what is on its way

`lab.hosted` keeps what it reads in the same folder.

Files are put into place whole, so processes may share a store and be killed. Whoever wants dead links tried again
removes `refused/`.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

from huggingface_hub import constants

from lab.data.fetching.outcomes import Denied
from lab.data.fetching.settings import Settings
from lab.errors import LabError

# The settings that, when changed, make a reason worth another try.
HANGS_ON = {
    "address": ("loopback_port",),
    "time": ("seconds", "read_seconds"),
    "redirects": ("redirects",),
    "bytes": ("max_bytes",),
    "opt-out": ("honour_opt_outs",),
}
FOLDER = "TACA_FETCHED"  # where a store lies, if not beside what the hub's client keeps
STALE_SECONDS = 86_400  # a part of this age belongs to no living process


def place() -> Path:
    """The store of this machine, for all copies of the repository."""
    return Path(os.environ.get(FOLDER) or Path(constants.HF_HOME) / "taca" / "fetched")


@dataclass(frozen=True)
class Answer:
    """What a URL gave.

    Attributes:
        opt_out: the header that keeps it from training, where opt-outs were not honoured when it was fetched.
    """

    sha256: str
    bytes: int
    opt_out: str | None


class Store:
    """The store in a folder, which is made.

    Raises:
        LabError: a file is called so.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._partial = folder / "partial"
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise LabError(f"{folder} is no folder: set {FOLDER} to one, in which fetched images stay.") from None
        for part in self._partial.iterdir():
            with suppress(FileNotFoundError):  # another process clears up too
                if part.stat().st_mtime < time.time() - STALE_SECONDS:
                    part.unlink()

    def path(self, digest: str) -> Path:
        """Where bytes of this sha256 lie."""
        return self.folder / "blobs" / digest[:2] / digest

    def recall(self, url: str, settings: Settings) -> Answer | None:
        """What the URL gave once; None where it must be asked.

        Raises:
            Denied: it was refused, and nothing that this hangs on has changed.
        """
        answer = _read(self._record("answers", url))
        if answer is not None and self._is_whole(answer["sha256"]):
            return Answer(answer["sha256"], answer["bytes"], answer["opt_out"])
        refused = _read(self._record("refused", url))
        if refused is not None and refused["settings"] == _hanging(refused["reason"], settings):
            raise Denied(refused["reason"], refused["detail"])
        return None

    @contextmanager
    def part(self) -> Iterator[BinaryIO]:
        """A new file to write to; an error removes it."""
        with NamedTemporaryFile(dir=self._partial, delete=False) as file:
            try:
                yield file
            except BaseException:
                Path(file.name).unlink()
                raise

    def keep(self, part: Path, url: str, answer: Answer) -> None:
        """Puts a whole file in its place and notes the answer."""
        _move(part, self.path(answer.sha256))
        self._write(self._record("answers", url), {"url": url} | asdict(answer))

    def refuse(self, url: str, denied: Denied, settings: Settings) -> None:
        """Notes that the URL gives nothing."""
        noted = {"reason": denied.reason, "detail": denied.detail, "settings": _hanging(denied.reason, settings)}
        self._write(self._record("refused", url), {"url": url} | noted)

    def _record(self, kind: str, url: str) -> Path:
        key = sha256(url.encode(errors="surrogatepass")).hexdigest()
        return self.folder / kind / key[:2] / f"{key}.json"

    def _is_whole(self, digest: str) -> bool:
        """A power cut, or a full disk of others, may have left less."""
        try:
            with self.path(digest).open("rb") as file:
                return file_digest(file, "sha256").hexdigest() == digest
        except FileNotFoundError:
            return False

    def put(self, path: Path, content: bytes) -> None:
        """Writes a file of the store, whole or not at all."""
        with self.part() as file:
            file.write(content)
        _move(Path(file.name), path)

    def _write(self, path: Path, record: dict) -> None:
        self.put(path, json.dumps(record).encode())


def _hanging(reason: str, settings: Settings) -> dict:
    return {name: getattr(settings, name) for name in HANGS_ON.get(reason, ())}


def _read(path: Path) -> dict | None:
    with suppress(FileNotFoundError, ValueError):
        return json.loads(path.read_bytes())
    return None


def _move(part: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, target)
