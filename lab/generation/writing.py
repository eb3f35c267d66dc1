"""Writes images beside the drawing: encoding a PNG of 1024 x 1024 takes a core a third of a second."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from PIL import Image

THREADS = 4


class ImageWriter(AbstractContextManager):
    """Threads that write PNG files, each whole or absent; at most `pending` images wait for them.

    Leaving the `with` block waits for what is left, also on an error, so that no drawn image is lost.
    """

    def __init__(self, pending: int):
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="png")
        self._limit = pending
        self._waiting: list[Future] = []

    def write(self, image: Image.Image, path: Path) -> None:
        """Hands an image over; while too many wait, the oldest is waited for.

        Raises: what an earlier write raised, such as OSError on a full disk.
        """
        if len(self._waiting) >= self._limit:
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(_write, image, path))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            for done in self._waiting:
                done.result()


def _write(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")  # as long as .png: a prompt's name may fill what a file's name can be
    image.save(partial, format="PNG")
    partial.replace(path)
