"""An OpenAI-compatible server of chats with images, which errs as a test says."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from hashlib import sha256

from tests.local_server import LocalServer

MODEL = "stub/llava"


class ChatServer(LocalServer):
    """Says of each image what its hash is, at once.

    Attributes:
        behave: is given the request's document and how often its question came before. It returns what is sent: a
            status with or without a document, bytes, or changes in the right answer; None for that as it is.
        asked: the documents of all requests.
        base: of all paths that there are.
        most: requests that were there at once.
    """

    def __init__(self, behave: Callable[[dict, int], object] = lambda asked, before: None):
        self.behave = behave
        self.asked: list[dict] = []
        self.keys: list[str | None] = []
        self.now = self.most = 0
        self.base = "/"
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.listen()

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def answer(self, request) -> None:
        if request.command == "GET":
            return _send(request, 200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        if not request.path.startswith(self.base):
            return _send(request, 404, b"404 page not found")
        asked = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        question = json.dumps([asked["messages"], asked.get("seed")])
        with self._lock:
            before = self._seen[question]
            self._seen[question] += 1
            self.asked.append(asked)
            self.keys.append(request.headers.get("Authorization"))
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            told = self.behave(asked, before)
        finally:
            with self._lock:
                self.now -= 1
        if isinstance(told, int):
            return _send(request, told, {"error": {"message": f"status {told}", "code": None}})
        if isinstance(told, bytes):
            return _send(request, 200, told)
        if isinstance(told, tuple):
            return _send(request, *told)
        return _send(request, 200, completion(image_of(asked), **(told or {})))


def image_of(asked: dict) -> str:
    """Eight digits for the image of a request."""
    (image,) = [part for part in asked["messages"][0]["content"] if part["type"] == "image_url"]
    return sha256(image["image_url"]["url"].encode()).hexdigest()[:8]


def completion(image: str, **changes: object) -> dict:
    message = {"role": "assistant", "content": changes.pop("content", f"A picture of {image}.")}
    message["refusal"] = changes.pop("refusal", None)
    choice = {"index": 0, "message": message, "finish_reason": changes.pop("finish_reason", "stop")}
    whole = {"id": "1", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice]}
    return whole | changes


def slow(seconds: float) -> Callable[[dict, int], None]:
    return lambda asked, before: time.sleep(seconds)


def _send(request, status: int, said: dict | bytes) -> None:
    content = said if isinstance(said, bytes) else json.dumps(said).encode()
    try:
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
    except ConnectionError:
        pass  # whoever asked has gone
