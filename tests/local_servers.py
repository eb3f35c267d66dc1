"""Servers on this machine, for the tests of what talks to them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that lives, and answers everything else with `status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path != "/health" else 200)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@contextmanager
def prefect_server(root: Path) -> Iterator[str]:
    """A Prefect server with its database in `root/.prefect`; its API's address."""
    from flows.services.server import start_server

    port = free_port()
    with start_server(root, port, root / ".work" / "server.txt"):
        yield f"http://127.0.0.1:{port}/api"
