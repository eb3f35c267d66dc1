"""Brings one image's bytes, within bounds."""

import asyncio
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from hashlib import sha256
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from lab.data.fetching.addresses import Gate
from lab.data.fetching.failures import FAILURES, Failure, failure
from lab.data.fetching.opt_outs import AGENT, opt_out
from lab.data.fetching.outcomes import Denied
from lab.data.fetching.settings import Settings
from lab.data.fetching.store import Answer, Store

BUSY = frozenset({429, 500, 502, 503, 504})
PATIENCE = 60  # seconds; a server that wants a longer pause is not asked again
CHUNK = 2**16  # bytes


def open_session(settings: Settings, gate: Gate, resolver: AbstractResolver | None) -> aiohttp.ClientSession:
    """A client that reaches public addresses alone and keeps no cookies."""
    connector = aiohttp.TCPConnector(
        limit=0,  # who calls counts what is under way
        limit_per_host=settings.per_host,
        socket_factory=gate.make_socket,
        resolver=resolver,
        ttl_dns_cache=60,
        keepalive_timeout=2,  # of the hosts of a table, few come twice, and each idle connection takes a file handle
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(
            total=settings.seconds,
            connect=settings.read_seconds,  # look-ups of names included, which hang where the network is gone
            sock_connect=settings.read_seconds,
            sock_read=settings.read_seconds,
        ),
        headers={
            "User-Agent": f"{AGENT} (images for research; {settings.contact})",
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
        },
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
        middlewares=(gate.check,),
    )


async def transfer(session: aiohttp.ClientSession, url: str, settings: Settings, store: Store) -> Answer:
    """Fetches the bytes of `url` into the store, in as many tries as help.

    Raises:
        Failure: they cannot be had.
    """
    _check_url(url)
    for tried in range(1, settings.tries + 1):
        try:
            return await _try(session, url, settings, store)
        except Failure as fault:
            if not fault.passes or fault.after > PATIENCE or tried == settings.tries:
                raise
            await asyncio.sleep(fault.after or settings.back_off * 2 ** (tried - 1))
    raise AssertionError  # `Settings.tries` is 1 or more


def _check_url(url: str) -> None:
    """Not left to the client, which takes some others for addresses of the web. Raises: Failure."""
    with suppress(ValueError):
        if (parsed := URL(url)).scheme in ("http", "https") and parsed.host:
            return
    raise Failure("url", repr(url[:200]))


async def _try(session: aiohttp.ClientSession, url: str, settings: Settings, store: Store) -> Answer:
    try:
        # aiohttp counts the answer that is not followed, too.
        async with session.get(url, max_redirects=settings.redirects + 1) as response:
            forbidden = _check(response, settings)
            with store.part() as file:
                digest, size = await _save(response, file, settings.max_bytes)
    except FAILURES as error:
        raise failure(error) from error
    except (Denied, OSError):  # a refusal of ours; a disk
        raise
    except Exception as error:  # the client raises whatever strangers' addresses and headers lead it to
        raise Failure("protocol", f"{type(error).__name__}: {error}"[:200]) from error
    answer = Answer(digest, size, forbidden)
    store.keep(Path(file.name), url, answer)
    return answer


def _check(response: aiohttp.ClientResponse, settings: Settings) -> str | None:
    """Of an answer before its body: gives what keeps it from training, where that is not honoured."""
    if response.status != 200:
        passes = response.status in BUSY
        after = _retry_after(response.headers.get("Retry-After", "")) if passes else 0
        raise Failure("status", f"{response.status} {response.reason}"[:200], passes, after)
    forbidden = next(filter(None, (opt_out(answer.headers) for answer in (*response.history, response))), None)
    if forbidden and settings.honour_opt_outs:
        raise Failure("opt-out", forbidden[:200])
    if (response.content_length or 0) > settings.max_bytes:
        raise Failure("bytes", f"{response.content_length} announced")
    return forbidden


def _retry_after(value: str) -> float:
    """Seconds, which the header gives as a number or as a date; 0 where it gives neither."""
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return 0


async def _save(response: aiohttp.ClientResponse, file, max_bytes: int) -> tuple[str, int]:
    """Writes the body as it comes, so that memory holds a chunk of each; its sha256 and size in bytes."""
    digest, size = sha256(), 0
    async for chunk in response.content.iter_chunked(CHUNK):
        size += len(chunk)
        if size > max_bytes:
            raise Failure("bytes", f"more than {max_bytes}")
        digest.update(chunk)
        file.write(chunk)
    if not size:
        raise Failure("empty", "no bytes")
    return digest.hexdigest(), size
