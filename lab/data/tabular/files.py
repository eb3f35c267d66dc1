"""The files that a source draws from, wherever they lie."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from compbench.names import is_hidden
from lab.data.tables import spelled
from lab.errors import LabError


@dataclass(frozen=True)
class TableFile:
    """A file.

    Attributes:
        name: path from the place on where its source lies.
        size: in bytes.
        digest: what identifies its content, after the kind of digest, such as "sha256:"; None to be reckoned when read.
        opener: opens a name; with `whole` for reading from start to end.
        changed: when, in nanoseconds, for files of this machine.
    """

    name: str
    size: int
    digest: str | None
    opener: Callable[..., AbstractContextManager[BinaryIO]]
    changed: int = 0

    @property
    def identity(self) -> str:
        """Tells this content from another of the same name and size."""
        return self.digest or str(self.changed)

    def open(self, whole: bool = False) -> AbstractContextManager[BinaryIO]:
        """The file, for reading bytes."""
        return self.opener(self.name, whole)


@dataclass(frozen=True)
class Files:
    """Files of one place.

    Attributes:
        address: of the place.
        said: what is known of it: repository, revision, licence.
    """

    address: str
    files: Sequence[TableFile]
    said: dict

    def in_order(self, seed: int) -> list[TableFile]:
        """In a seeded order, which depends on nothing but names: on no order of a listing, nor on where files are."""
        return sorted(self.files, key=lambda file: order_key(seed, file.name))


def order_key(seed: int, *names: object) -> bytes:
    """A pseudo-random key to sort by."""
    return sha256("\0".join(map(str, (seed, *names))).encode(errors="surrogatepass")).digest()


def is_meant(name: str, pattern: str) -> bool:
    """Whether `sample.files` means this file: by a pattern, or by its very name, which hidden files need."""
    return name == pattern or (fnmatch(name, pattern) and not is_hidden(name))


def find_files(
    folder: str, repo: str | None, revision: str | None, address: str | None, pattern: str, store: Path
) -> Files:
    """The files of section `sample`.

    Args:
        store: where what is read of hosted files stays.

    Raises:
        LabError: no file is called so, or the place is not what it should be.
        ConnectionError, TimeoutError: who hosts them does not answer.
    """
    if repo is None and address is None:
        found = _local_files(Path(folder), pattern)
    else:
        # Not imported by name, so that DVC takes it for a dependency where it is one alone: `sample.folder`.
        hosted = import_module("lab.hosted.files")
        if repo is None:
            found = hosted.bucket_files(address, pattern, store)
        else:
            found = hosted.hub_files(repo, revision, pattern, store)
    if not found.files:
        raise LabError(f"`sample.files` is {pattern!r}, but {found.address} has no file of such a path.")
    return found


def _local_files(folder: Path, pattern: str) -> Files:
    def opener(name: str, _whole: bool) -> BinaryIO:
        return (folder / name).open("rb")

    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    files = []
    for name in names:
        if is_meant(name, pattern):
            if name != spelled(name):
                raise LabError(f"The name of {spelled(name)} in {folder} is not in UTF-8: rename the file.")
            about = (folder / name).stat()
            files.append(TableFile(name, about.st_size, None, opener, about.st_mtime_ns))
    return Files(str(folder), files, {"licence": None})
