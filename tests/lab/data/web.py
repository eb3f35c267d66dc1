"""A server of images, and of all that the web gives in their stead, on a port of 127.0.0.1."""

import asyncio
import gzip
import io
import threading
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
from aiohttp import web
from PIL import Image

TURN = 0x0112  # EXIF's orientation


def picture(number: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Soft patches of colour, of which no two numbers look alike."""
    patches = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """The bytes of a file of it."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


class Web:
    """Answers paths by functions, and counts requests."""

    def __init__(self):
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, Callable] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Web":
        self._thread.start()
        self.port = self._call(self._listen())
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_) -> None:
        self.close()
        self._call(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def close(self) -> None:
        """From here on nobody listens."""
        self._call(self._runner.cleanup())

    @staticmethod
    async def _hang_up() -> None:
        """Ends answers that would go on for ever."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _listen(self) -> int:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        return site._server.sockets[0].getsockname()[1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        kind, _, number = request.path.strip("/").partition("/")
        return await self.answers[kind](request, int(number or 0))


def file(make: Callable[[int], bytes], **options) -> Callable:
    """Answers with the bytes that `make` gives for a number."""

    async def answer(_request, number):
        return web.Response(body=make(number), **({"content_type": "image/jpeg"} | options))

    return answer


def status(code: int, **headers: str) -> Callable:
    async def answer(_request, _number):
        return web.Response(status=code, headers={name.replace("_", "-"): text for name, text in headers.items()})

    return answer


def redirect(to: str) -> Callable:
    async def answer(_request, number):
        return web.Response(status=302, headers={"Location": to.format(number=number)})

    return answer


def raw(make: Callable[[int], bytes], wait: float = 0, abort: bool = False) -> Callable:
    """Writes bytes as they are, waits, and hangs up: politely, or with a reset."""

    async def answer(request, number):
        request.transport.write(make(number))
        await asyncio.sleep(wait)
        if request.transport is not None:
            request.transport.abort() if abort else request.transport.close()
        return web.Response()

    return answer


def dripping(head: bytes, pause: float) -> Callable:
    """A byte at a time, for ever."""

    async def answer(request, _number):
        request.transport.write(head)
        while request.transport is not None and not request.transport.is_closing():
            request.transport.write(b"\0")
            await asyncio.sleep(pause)
        return web.Response()

    return answer


def endless(head: bytes) -> Callable:
    """As fast as it is taken, for ever."""

    async def answer(request, _number):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(head)
        while True:
            await response.write(bytes(2**16))

    return answer


def chain(hops: int, pause: float = 0) -> Callable:
    """Redirects to itself so many times, then to a good image."""

    async def answer(request, number):
        await asyncio.sleep(pause)
        hop = int(request.query.get("hop", 0))
        to = f"{request.path}?hop={hop + 1}" if hop + 1 < hops else f"/good/{number}"
        return web.Response(status=302, headers={"Location": to})

    return answer


def after_failures(count: int, fail: Callable, then: Callable) -> Callable:
    """Fails so many times for a number, then answers."""
    seen: Counter[int] = Counter()

    async def answer(request, number):
        seen[number] += 1
        return await (fail if seen[number] <= count else then)(request, number)

    return answer


def zipped(make: Callable[[int], bytes]) -> Callable:
    compressed = cache(lambda content: gzip.compress(content, mtime=0))  # a bomb takes a third of a second

    async def answer(_request, number):
        return web.Response(body=compressed(make(number)), headers={"Content-Encoding": "gzip"})

    return answer


def turned(number: int) -> bytes:
    exif = Image.Exif()
    exif[TURN] = 6
    return encoded(picture(number), exif=exif)
