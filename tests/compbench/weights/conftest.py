"""Files to fetch, and the server that has them."""

import random
from collections.abc import Iterator

import pytest

from compbench.weights.registry import WeightFile
from compbench.weights.web import Web
from tests.compbench.weights.file_server import FileServer


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    server.files = {"net.pth": random.Random(0).randbytes(2_000_000), "words.txt": b"a\nb\n"}
    yield server
    server.close()


@pytest.fixture
def net(server) -> WeightFile:
    """The larger of the server's two files; nothing is published of its hash."""
    return WeightFile("net/net.pth", f"{server.url}/net.pth")


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that `web` waited."""
    return []


@pytest.fixture
def web(pauses) -> Web:
    """The network, without its waits."""
    return Web(pause=pauses.append)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
