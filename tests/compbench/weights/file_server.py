"""A server of files on this machine that can be told to misbehave."""

import hashlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.local_server import LocalServer


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Behaviour:
    """What the server holds and how it errs; a test changes it as it goes."""

    files: dict[str, bytes] = field(default_factory=dict)
    breaks: int = 0  # so many transfers end after 60 % of what they announced
    statuses: list[int] = field(default_factory=list)  # answers to the next requests, in place of the file
    headers: dict[str, str] = field(default_factory=dict)  # added to every answer
    announced: int | None = None  # what HEAD says, instead of the size
    ranges: bool = True
    marks: bool = True  # says an ETag
    shift: int = 0  # where a part begins, beside where it was asked for
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


class FileServer(LocalServer, Behaviour):
    """A server on 127.0.0.1."""

    def __init__(self):
        super().__init__()
        self.listen()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.seen.append((request.command, request.path, dict(request.headers)))
        status = self.statuses.pop(0) if self.statuses else 200
        name = urlsplit(request.path).path.lstrip("/")
        if status == 200 and name not in self.files:
            status = 404
        content, start = (self.files[name], self._start(request, name)) if status == 200 else (b"", 0)
        if start > len(content):
            status, content, start = 416, b"", 0
        self._headers(request, 206 if start else status, content, start)
        if request.command == "GET":
            self._body(request, content[start:])

    def _start(self, request: BaseHTTPRequestHandler, name: str) -> int:
        asked = request.headers.get("Range", "")
        changed = request.headers.get("If-Range") not in (None, self._mark(self.files[name]))
        return 0 if not asked or changed or not self.ranges else int(asked[6:-1])

    def _headers(self, request: BaseHTTPRequestHandler, status: int, content: bytes, start: int) -> None:
        request.send_response(status)
        size = self.announced if self.announced is not None and request.command == "HEAD" else len(content) - start
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        if status == 206:
            headers["Content-Range"] = f"bytes {start + self.shift}-{len(content) - 1}/{len(content)}"
        if self.marks:
            headers["ETag"] = self._mark(content)
        for name, value in {**headers, **self.headers}.items():
            request.send_header(name, value)
        request.end_headers()

    def _body(self, request: BaseHTTPRequestHandler, rest: bytes) -> None:
        if self.breaks:
            self.breaks -= 1
            rest = rest[: int(len(rest) * 0.6)]
            request.close_connection = True
        request.wfile.write(rest)

    @staticmethod
    def _mark(content: bytes) -> str:
        return f'"{digest(content)[:8]}"'

    def transfers(self) -> list[str | None]:
        """The range that each GET asked for."""
        return [headers.get("Range") for method, _, headers in self.seen if method == "GET"]
