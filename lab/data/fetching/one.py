"""One candidate's way: from the store or its server, through the look, to an outcome."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from weakref import WeakValueDictionary

import aiohttp
from yarl import URL

from lab.data.fetching.failures import Failure
from lab.data.fetching.look import look
from lab.data.fetching.outages import Outages
from lab.data.fetching.outcomes import Candidate, Denied, Kept, Outcome, Refused
from lab.data.fetching.settings import Settings
from lab.data.fetching.store import Answer, Store
from lab.data.fetching.transfer import transfer


class Fetcher:
    """Makes outcomes of candidates, many at once, each a task that waits for its turn.

    Attributes:
        slots: held by whoever is at work, not by who waits for a crowded host.
    """

    def __init__(self, session: aiohttp.ClientSession, settings: Settings, store: Store):
        self.session, self.settings, self.store = session, settings, store
        self.slots = asyncio.Semaphore(settings.concurrency)
        self._hosts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._urls: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._outages = Outages(lambda url, denied: store.refuse(url, denied, settings))
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="look")

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(self, *_) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def outcome(self, candidate: Candidate) -> Outcome:
        """Never a duplicate's: who comes before is for the caller to know."""
        try:
            # A URL that the table has twice is asked once.
            async with self._urls.setdefault(candidate.url, asyncio.Lock()):
                answer = await self._recalled(candidate.url) or await self._fetched(candidate.url)
            async with self.slots:
                return await self._in_thread(partial(self._kept, candidate, answer))
        except Denied as denied:
            return Refused(candidate, denied.reason, denied.detail)

    async def _recalled(self, url: str) -> Answer | None:
        async with self.slots:
            return await self._in_thread(partial(self.store.recall, url, self.settings))

    async def _fetched(self, url: str) -> Answer:
        host = _host(url)
        try:
            async with self._hosts.setdefault(host, asyncio.Semaphore(self.settings.per_host)), self.slots:
                answer = await transfer(self.session, url, self.settings, self.store)
        except Failure as fault:
            if fault.unreachable:
                self._outages.unreachable(url, fault)
            else:
                if fault.reason not in ("url", "address"):  # for which nobody was asked
                    self._outages.answered()
                self.store.refuse(url, fault, self.settings)
            raise
        self._outages.answered()
        return answer

    def _kept(self, candidate: Candidate, answer: Answer) -> Kept:
        if answer.opt_out and self.settings.honour_opt_outs:
            raise Denied("opt-out", answer.opt_out)
        if answer.bytes > self.settings.max_bytes:
            raise Denied("bytes", f"more than {self.settings.max_bytes}")
        if candidate.sha256 not in (None, answer.sha256):
            raise Denied("changed", f"now {answer.sha256}")
        path = self.store.path(answer.sha256)
        seen = look(path, self.settings)
        return Kept(candidate, path, seen.width, seen.height, answer.bytes, answer.sha256, seen.phash)

    async def _in_thread(self, call):
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _host(url: str) -> str:
    try:
        return URL(url).host or ""
    except ValueError:
        return ""
