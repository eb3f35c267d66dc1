"""Work of the CPU that is done while another processor works."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class Ahead(Generic[Item, Made]):
    """Calls a function on each item in a thread, one item before it is asked for.

    Attributes:
        waited: seconds for which whoever iterates had to wait.
    """

    def __init__(self, make: Callable[[Item], Made], items: Iterable[Item]):
        self.make, self.items = make, items
        self.waited = 0.0

    def __iter__(self) -> Iterator[tuple[Item, Made]]:
        with ThreadPoolExecutor(1) as pool:
            before = None
            for item in self.items:
                now = (item, pool.submit(self.make, item))
                if before is not None:
                    yield self._result(*before)
                before = now
            if before is not None:
                yield self._result(*before)

    def _result(self, item: Item, future) -> tuple[Item, Made]:
        start = time.perf_counter()
        made = future.result()
        self.waited += time.perf_counter() - start
        return item, made
