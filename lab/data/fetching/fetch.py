"""Fetches images in the order of their rank until enough are kept."""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeVar

from aiohttp.abc import AbstractResolver
from tqdm import tqdm

from lab.data.fetching.addresses import Gate
from lab.data.fetching.line import Line
from lab.data.fetching.one import Fetcher
from lab.data.fetching.outcomes import Candidate, Kept, Outcome
from lab.data.fetching.settings import Settings
from lab.data.fetching.store import Store
from lab.data.fetching.transfer import open_session

Made = TypeVar("Made")


def fetch(
    candidates: Iterable[Candidate],
    wanted: int,
    settings: Settings,
    store: Path,
    resolver: AbstractResolver | None = None,
) -> Iterator[Outcome]:
    """Outcomes of the candidates in the order of their rank, each once, until `wanted` are kept or none is left.

    Which are kept depends on ranks and answers alone, never on which answer came first; of near-duplicates the one of
    lowest rank is kept. What the store holds is not asked for again, nor are refusals that it remembers. What is under
    way goes on in a thread of its own while the caller works on an outcome; closing the iterator ends it.

    Args:
        candidates: by rising rank; read only as far as needed, in threads.
        store: the folder in which fetched bytes and answers stay, shared by runs. See `lab.data.fetching.store`.
        resolver: of names; None for the system's.

    Raises:
        ConnectionError: there is no network: nobody answered at all, many times in a row.
        OSError: the store cannot be written, as on a full disk; what it has stays.
    """
    seen = kept = 0
    with _loop(settings.concurrency) as loop, tqdm(total=wanted, desc="fetch", unit="image", disable=None) as bar:
        line, under_way = _now(loop, _open(candidates, wanted, settings, Store(store), resolver))
        try:
            while (outcome := _now(loop, line.next())) is not None:
                seen += 1
                if isinstance(outcome, Kept):
                    kept += 1
                    bar.update()
                bar.set_postfix_str(f"{kept / seen:.0%} of {seen} good", refresh=False)
                yield outcome
        finally:
            _now(loop, under_way.aclose())


def checked_where() -> str:
    """Where addresses are checked, for the record of a run: behind a proxy it is the proxy that connects."""
    if Gate(None).proxies:
        return "only names and literal addresses in URLs: what names resolve to is the proxy's affair"
    return "every address that a socket is made for"


async def _open(candidates, wanted, settings, store, resolver) -> tuple[Line, AsyncExitStack]:
    """The line, and what is to be closed after it."""
    async with AsyncExitStack() as opened:
        session = await opened.enter_async_context(open_session(settings, Gate(settings.loopback_port), resolver))
        fetcher = opened.enter_context(Fetcher(session, settings, store))
        line = Line(iter(candidates), wanted, settings, fetcher)
        opened.push_async_callback(line.stop)
        return line, opened.pop_all()


@contextmanager
def _loop(lookups: int) -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread, whose look-ups of names do not wait for each other."""
    loop = asyncio.new_event_loop()
    names = ThreadPoolExecutor(lookups, thread_name_prefix="names")
    loop.set_default_executor(names)
    thread = Thread(target=loop.run_forever, name="fetch", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        names.shutdown(wait=False, cancel_futures=True)


def _now(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[None, None, Made]) -> Made:
    """What comes of it, once it has."""
    made = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return made.result()
    except BaseException:  # also an interrupt of the wait alone
        made.cancel()
        raise
