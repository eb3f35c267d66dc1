"""Keeps one machine's services running until Ctrl-C: Prefect with its schedules, a worker, and MLflow."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.errors import TOLD
from flows.running.process import end_noted
from flows.services.services import NOTES, SIGNALS, services, watch
from runtime.errors import StageError
from runtime.execution.lock import if_free
from runtime.tracking import tracking_uri
from runtime.tracking.place import is_server


def main() -> None:
    """Serves; status 1 and a sentence where that cannot be, or when a service ends by itself."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="of MLflow (default: 5000)")
    parser.add_argument("--prefect-port", type=int, default=4200, help="of Prefect (default: 4200)")
    options = parser.parse_args()
    root = Path.cwd()
    _catch_signals()
    try:
        with _only_one(root):
            _check_ports(root, options.port, options.prefect_port)
            with services(root, options.port, options.prefect_port) as running:
                watch(root, running)
    except TOLD as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("Stopped.")


def _catch_signals() -> None:
    """SIGTERM and a terminal that closes do what Ctrl-C does."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    # SIGINT too: what a shell starts in the background ignores it, and so would the worker, which ends by it.
    for number in SIGNALS:
        signal.signal(number, interrupt)


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Holds the repository for one `make serve`, and ends what a killed one has left running."""
    with if_free(root / ".work" / "locks" / "serve.lock") as free:
        if not free:
            raise StageError(f"`make serve` runs already in {root}: use that one, or stop it first.")
        for note in (root / NOTES).glob("*.txt"):
            if end_noted(note):
                print(f"Ended the {note.stem} of a `make serve` that was killed.")
        yield


def _check_ports(root: Path, port: int, prefect_port: int) -> None:
    if os.environ.get("PREFECT_API_URL"):
        raise StageError("PREFECT_API_URL names a Prefect server already: unset it to have one here.")
    for number in (prefect_port, *([] if is_server(tracking_uri(root)) else [port])):
        with socket.socket() as probe:
            # As servers do: a port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                raise StageError(
                    f"Port {number} is taken: stop what has it, or choose another (`make serve PORT=...` for MLflow, "
                    "`python -m flows.serve --prefect-port ...` for Prefect)."
                ) from None


if __name__ == "__main__":
    main()
