"""Decides in the order of rank, whatever the order in which answers come."""

import asyncio
from collections import deque
from collections.abc import Iterator

from lab.data.fetching.duplicates import Duplicates
from lab.data.fetching.one import Fetcher
from lab.data.fetching.outcomes import Candidate, Denied, Kept, Outcome, Refused
from lab.data.fetching.settings import Settings

DECIDED_LATER = 4096  # finished candidates at most that wait for a slow one of lower rank
SPARE = 8  # candidates begun beyond two for each image that is missing


class Line:
    """Candidates under way, in a line by rank; its head is the next to be decided."""

    def __init__(self, candidates: Iterator[Candidate], wanted: int, settings: Settings, fetcher: Fetcher):
        self.candidates, self.wanted, self.settings, self.fetcher = candidates, wanted, settings, fetcher
        self.kept = 0
        self._duplicates = Duplicates(settings.duplicate_distance)
        self._tasks: deque[asyncio.Task[Outcome]] = deque()
        self._finished = 0
        self._promising = 0  # finished with an image, not decided
        self._fault: BaseException | None = None
        self._changed = asyncio.Event()

    async def next(self) -> Outcome | None:
        """The next by rank; None when enough are kept or no candidate is left."""
        while self.kept < self.wanted:
            await self._begin()
            if self._fault is not None:
                raise self._fault
            if not self._tasks:
                break
            if self._tasks[0].done():
                return self._decide(self._tasks.popleft().result())
            self._changed.clear()
            await self._changed.wait()
        return None

    async def stop(self) -> None:
        """Ends what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _begin(self) -> None:
        """Sets candidates on their way while there is room and too few images are in sight.

        Not more than are under way at once: where answers come as fast as candidates, room would never end.
        """
        for _ in range(self.settings.concurrency):
            if not self._has_room():
                return
            # In a thread, since a table may have to be read for it.
            candidate = await asyncio.to_thread(next, self.candidates, None)
            if candidate is None:
                return
            task = asyncio.create_task(self.fetcher.outcome(candidate))
            task.add_done_callback(self._note)
            self._tasks.append(task)
            await asyncio.sleep(0)  # lets it take its slot

    def _has_room(self) -> bool:
        missing = self.wanted - self.kept - self._promising
        pending = len(self._tasks) - self._finished
        most = min(2 * self.settings.concurrency, 2 * missing + SPARE)
        return missing > 0 and pending < most and self._finished < DECIDED_LATER and not self.fetcher.slots.locked()

    def _note(self, task: asyncio.Task[Outcome]) -> None:
        self._changed.set()
        if task.cancelled():
            return
        self._finished += 1
        self._fault = self._fault or task.exception()
        if task.exception() is None:
            self._promising += isinstance(task.result(), Kept)

    def _decide(self, outcome: Outcome) -> Outcome:
        self._finished -= 1
        if isinstance(outcome, Refused):
            return outcome
        self._promising -= 1
        try:
            self._duplicates.add(outcome)
        except Denied as denied:
            return Refused(outcome.candidate, denied.reason, denied.detail)
        self.kept += 1
        return outcome
