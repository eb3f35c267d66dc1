"""Files of others, kept in blocks as they are read: no byte is asked for twice, by this run or by a later one.

    hosted/12/1234.../0000000007   a block of the file of that identity: the sha256 of its bytes, and these

Blocks are put into place whole, so runs may share them and be killed.
"""

import io
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from lab.data.fetching.store import Store
from lab.models.published.faults import LATER

BLOCK = 2**17  # bytes: little beside a column of a table, much beside what it costs to ask
AT_ONCE = 2**9  # blocks, and so bytes in memory
AHEAD = 8  # blocks, for who reads from start to end
DIGEST = 32  # bytes


class KeptFile(io.RawIOBase):
    """A file for reading that asks whoever hosts it for no more than the store lacks.

    Args:
        identity: of the content; another content has another.
        whole: it will be read from start to end, so that blocks are asked for ahead.
        ask: opens the hosted file, which is done once and only where something is missing.
    """

    def __init__(self, store: Store, identity: str, size: int, whole: bool, ask: Callable[[], BinaryIO]):
        key = sha256(identity.encode(errors="surrogatepass")).hexdigest()
        self._folder = store.folder / "hosted" / key[:2] / key
        self._store, self._ask = store, ask
        self._hosted: BinaryIO | None = None
        self._size, self._at, self._ahead = size, 0, AHEAD if whole else 1
        self._last: tuple[int, bytes] = (-1, b"")  # headers of tar files come in many short reads

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer) -> int:
        """Fills the buffer as far as the file goes. Raises as `ask` and the hosted file do."""
        target, filled = memoryview(buffer).cast("B"), 0
        wanted = max(0, min(len(target), self._size - self._at))
        last = (self._at + wanted - 1) // BLOCK
        while filled < wanted:
            number, start = divmod(self._at, BLOCK)
            part = self._block(number, last)[start : start + wanted - filled]
            target[filled : filled + len(part)] = part
            filled += len(part)
            self._at += len(part)
        return filled

    def _block(self, number: int, last: int) -> bytes:
        """The block; where it is missing, all that are missing from there to `last` are asked for at once."""
        if self._last[0] == number:
            return self._last[1]
        content = self._recall(number)
        if content is None:
            end, last = number + 1, min(max(last, number + self._ahead - 1), (self._size - 1) // BLOCK)
            while end <= min(last, number + AT_ONCE - 1) and self._recall(end) is None:
                end += 1
            content = self._fetch(number, end)
        self._last = (number, content)
        return content

    def _fetch(self, first: int, end: int) -> bytes:
        """Asks for blocks, keeps them, and returns the first."""
        if self._hosted is None:
            self._hosted = self._ask()
        start, stop = first * BLOCK, min(end * BLOCK, self._size)
        self._hosted.seek(start)
        content = self._hosted.read(stop - start)
        if len(content) != stop - start:
            raise ConnectionError(
                f"A hosted file broke off after {start + len(content)} of {self._size} bytes: {LATER}."
            )
        for number in range(first, end):
            at = (number - first) * BLOCK
            self._keep(number, content[at : at + BLOCK])
        return content[:BLOCK]

    def _keep(self, number: int, content: bytes) -> None:
        self._store.put(self._path(number), sha256(content).digest() + content)

    def _recall(self, number: int) -> bytes | None:
        """None for a block that is not there, or not as it was kept."""
        with suppress(FileNotFoundError):
            kept = self._path(number).read_bytes()
            if sha256(kept[DIGEST:]).digest() == kept[:DIGEST]:
                return kept[DIGEST:]
        return None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:010d}"
