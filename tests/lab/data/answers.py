"""Kinds of answers: the bad, each with the reason it must be refused for, and the good that look bad."""

import io
import json
import zipfile
from collections.abc import Callable

import numpy as np
from made_png import RGB, png
from PIL import Image
from web import (
    after_failures,
    chain,
    dripping,
    encoded,
    endless,
    file,
    picture,
    raw,
    redirect,
    status,
    turned,
    zipped,
)

JPEG_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"


def _with_length(extra: int) -> Callable[[int], bytes]:
    """An answer whose announced length is off by `extra` bytes."""

    def make(number):
        body = encoded(picture(number))
        return JPEG_HEAD + f"Content-Length: {len(body) + extra}\r\n\r\n".encode() + body

    return make


def _chunked(end: bytes) -> Callable[[int], bytes]:
    def make(number):
        body = encoded(picture(number))
        return JPEG_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + f"{len(body):x}\r\n".encode() + body + end

    return make


def _unlengthed(number: int) -> bytes:
    return JPEG_HEAD + b"Connection: close\r\n\r\n" + encoded(picture(number))


def _animation(kind: str) -> Callable[[int], bytes]:
    def make(number):
        more = [picture(number + 10_000), picture(number + 20_000)]
        return encoded(picture(number), kind, save_all=True, append_images=more)

    return make


def _archive(number: int) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.jpg"), encoded(picture(number)))
    return held.getvalue()


def _floats(number: int) -> bytes:
    return encoded(Image.fromarray(np.asarray(picture(number).convert("L"), np.float32) * 7 - 300), "TIFF")


def _damaged(number: int) -> bytes:
    good = bytearray(encoded(picture(number), "PNG"))
    good[len(good) // 2] ^= 0xFF
    return bytes(good)


def _sixteen_bits(number: int) -> bytes:
    return encoded(Image.fromarray(np.asarray(picture(number).convert("L")).astype(np.uint16) * 257), "PNG")


HTML = b"<!DOCTYPE html><html><body>Gone.</body></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="96" height="64"/>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 64\n%%EndComments\nshowpage\n"
MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(200)
BOMB = bytes(50_000_000)
JPEG = file(lambda number: encoded(picture(number)))
ROBOTS = "X_Robots_Tag"


def _forbidden(**headers: str) -> Callable:
    return file(
        lambda number: encoded(picture(number)),
        headers={name.replace("_", "-"): text for name, text in headers.items()},
    )


BAD_SERVED: dict[str, tuple[str, Callable]] = {
    "not-found": ("status", status(404)),
    "forbidden": ("status", status(403)),
    "gone": ("status", status(410)),
    "always-failing": ("status", status(500)),
    "always-busy": ("status", status(503)),
    "busy-for-an-hour": ("status", status(429, Retry_After="3600")),
    "partial": ("status", status(206, Content_Range="bytes 0-99/200")),
    "not-modified": ("status", status(304)),
    "no-content": ("status", status(204)),
    "redirect-to-nowhere": ("status", status(302)),
    "redirect-loop": ("redirects", redirect("/redirect-loop/{number}")),
    "redirect-chain": ("redirects", chain(20)),
    "redirect-to-ftp": ("redirects", redirect("ftp://files.example.com/a.jpg")),
    "redirect-to-file": ("redirects", redirect("file:///etc/passwd")),
    "redirect-to-data": ("redirects", redirect("data:image/gif;base64,R0lGODlhAQABAAAAACw=")),
    "redirect-to-web-socket": ("redirects", redirect("ws://127.0.0.1/a.jpg")),
    "redirect-to-nonsense": ("redirects", redirect("http://[")),
    "redirect-to-private": ("address", redirect("http://10.0.0.1/a.jpg")),
    "redirect-to-metadata": ("address", redirect("http://169.254.169.254/latest/meta-data/")),
    "redirect-to-other-port": ("address", redirect("http://127.0.0.1:1/a.jpg")),
    "slow-redirect-chain": ("time", chain(3, pause=0.6)),
    "silent": ("time", raw(lambda _: b"", wait=30)),
    "stalled": ("time", raw(lambda number: _with_length(0)(number)[:-900], wait=30)),
    "slow-loris": ("time", dripping(JPEG_HEAD + b"\r\n", pause=0.2)),
    "slow-loris-headers": ("time", dripping(JPEG_HEAD + b"X-Long: ", pause=0.2)),
    "endless-body": ("bytes", endless(encoded(picture(1)))),
    "announced-too-large": ("bytes", raw(_with_length(10**9))),
    "too-large": ("bytes", file(lambda number: encoded(picture(number)) + bytes(400_000))),
    "gzip-bomb": ("bytes", zipped(lambda _: BOMB)),
    "announced-too-long": ("cut-off", raw(_with_length(100))),
    "chunks-without-end": ("cut-off", raw(_chunked(b"\r\n40\r\nabc"))),
    "broken-gzip": (
        "cut-off",
        raw(lambda _: JPEG_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!"),
    ),
    "hangs-up": ("connection", raw(lambda _: b"")),
    "resets": ("connection", raw(lambda _: b"", abort=True)),
    "not-http": ("protocol", raw(lambda _: b"220 ftp.example.com ready\r\n")),
    "endless-header": ("protocol", raw(lambda _: JPEG_HEAD + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n")),
    "two-lengths": ("protocol", raw(lambda _: JPEG_HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde")),
    "announced-too-short": ("protocol", raw(_with_length(-500))),
    "unasked-compression": (
        "protocol",
        file(lambda number: encoded(picture(number)), headers={"Content-Encoding": "br"}),
    ),
    "empty": ("empty", file(lambda _: b"")),
    "html": ("not-an-image", file(lambda _: HTML)),
    "json": ("not-an-image", file(lambda _: json.dumps({"error": "gone"}).encode())),
    "svg": ("not-an-image", file(lambda _: SVG)),
    "eps": ("not-an-image", file(lambda _: EPS)),
    "pdf": ("not-an-image", file(lambda number: encoded(picture(number), "PDF"))),
    "video": ("not-an-image", file(lambda _: MP4)),
    "archive": ("not-an-image", file(_archive)),
    "icon": ("not-an-image", file(lambda number: encoded(picture(number), "ICO", sizes=[(64, 64)]))),
    "zeros": ("not-an-image", file(lambda _: bytes(1000))),
    "pixel-bomb": ("pixels", file(lambda _: png((60_000, 60_000), 8, RGB, []))),
    "too-many-pixels": ("pixels", file(lambda number: encoded(picture(number, (1300, 1300)), quality=20))),
    "tracking-pixel": ("small", file(lambda _: encoded(Image.new("RGB", (1, 1)), "GIF"))),
    "thumbnail": ("small", file(lambda number: encoded(picture(number, (96, 20))))),
    "animated-gif": ("animated", file(_animation("GIF"))),
    "animated-webp": ("animated", file(_animation("WEBP"))),
    "animated-png": ("animated", file(_animation("PNG"))),
    "pages": ("animated", file(_animation("TIFF"))),
    "truncated-jpeg": ("broken", file(lambda number: encoded(picture(number))[:-500])),
    "truncated-png": ("broken", file(lambda number: encoded(picture(number), "PNG")[:-2000])),
    "damaged": ("broken", file(_damaged)),
    "claims-pixels": ("broken", file(lambda _: png((900, 900), 8, RGB, []))),
    "floats": ("colours", file(_floats)),
    "noai": ("opt-out", _forbidden(X_Robots_Tag="noai")),
    "noimageai": ("opt-out", _forbidden(X_Robots_Tag="all, NoImageAI")),
    "noindex": ("opt-out", _forbidden(X_Robots_Tag="unavailable_after: 25 Jun 2030, noindex")),
    "tdm-reservation": ("opt-out", _forbidden(tdm_reservation="1")),
    "opt-out-of-redirect": ("opt-out", status(302, Location="/good/1", X_Robots_Tag="noimageindex")),
}
"""By what the server does: the reason for the refusal, and the answer. See `SETTINGS` for the bounds they break."""

BAD_URLS: dict[str, tuple[str, str]] = {
    "no-scheme": ("url", "example.com/{number}.jpg"),
    "no-scheme-but-a-host": ("url", "//example.com/{number}.jpg"),
    "web-socket": ("url", "ws://127.0.0.1/{number}.jpg"),
    "spelled-in-ten": ("url", "http://2130706433/{number}.jpg"),
    "negative-port": ("url", "http://example.com:-1/{number}.jpg"),
    "ftp": ("url", "ftp://example.com/{number}.jpg"),
    "a-file": ("url", "file:///etc/passwd?{number}"),
    "data": ("url", "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7?{number}"),
    "nothing": ("url", ""),
    "no-host": ("url", "http:///{number}.jpg"),
    "bad-port": ("url", "http://example.com:99999/{number}.jpg"),
    "bad-literal": ("url", "http://[::1/{number}.jpg"),
    "private": ("address", "http://192.168.1.1/{number}.jpg"),
    "loopback": ("address", "http://127.0.0.1:9/{number}.jpg"),
    "loopback-6": ("address", "http://[::1]/{number}.jpg"),
    "mapped": ("address", "http://[::ffff:10.0.0.1]/{number}.jpg"),
    "metadata": ("address", "http://169.254.169.254/{number}.jpg"),
    "private-name": ("address", "http://private.test/{number}.jpg"),
    "no-name": ("name", "http://unknown.test/{number}.jpg"),
    "not-tls": ("tls", "https://127.0.0.1:{port}/good/{number}"),
}
"""By what stands in the table: the reason for the refusal, and the URL."""

GOOD: dict[str, Callable] = {
    "good": JPEG,
    "png": file(lambda number: encoded(picture(number), "PNG")),
    "webp": file(lambda number: encoded(picture(number), "WEBP")),
    "avif": file(lambda number: encoded(picture(number), "AVIF")),
    "bmp": file(lambda number: encoded(picture(number), "BMP")),
    "still-gif": file(lambda number: encoded(picture(number), "GIF")),
    "called-html": file(lambda number: encoded(picture(number)), content_type="text/html"),
    "cmyk": file(lambda number: encoded(picture(number).convert("CMYK"))),
    "palette": file(lambda number: encoded(picture(number).quantize(), "PNG")),
    "sixteen-bits": file(_sixteen_bits),
    "turned": file(turned),
    "zipped": zipped(lambda number: encoded(picture(number))),
    "without-length": raw(_unlengthed),
    "moved": redirect("/good/{number}"),
    "moved-thrice": chain(3),
    "busy-once": after_failures(1, status(503), JPEG),
    "busy-for-a-moment": after_failures(1, status(429, Retry_After="0"), JPEG),
    "reset-once": after_failures(1, raw(lambda _: b"", abort=True), JPEG),
    "cut-off-once": after_failures(1, raw(_with_length(100)), JPEG),
    "early-hints": raw(lambda number: b"HTTP/1.1 103 Early Hints\r\n\r\n" + _unlengthed(number)),
    "robots-of-another": _forbidden(X_Robots_Tag="googlebot: noindex, noai"),
    "may-be-mined": _forbidden(tdm_reservation="0"),
}
