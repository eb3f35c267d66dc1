"""The stage's end of the line to its recorder process; `recorder` is the other end."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path

from runtime.errors import StageError

PARTING = 5.0  # seconds that a stage which stops waits for its record; the recorder goes on without it
REFUSED = 3  # status of a recorder whose last line says why the store cannot be written
DENIED = 4  # the same, where it will not be written the next time either


class Recorder:
    """Starts the recorder at once, so that it imports MLflow while the stage prepares.

    `tell` and `ask` have it call a method of its `store.RunLog`; the first, "begin", is what that is made from. Once
    its run has ended it ends too; one that ends before has failed.
    """

    def __init__(self, root: Path):
        self._connection, other_end = Pipe()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the recorder
        # Its code is of the tree that this one is of, wherever the stage works.
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        with other_end:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "runtime.tracking.recorder", str(other_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[other_end.fileno()],
                cwd=root,
                env=os.environ | {"PYTHONPATH": path},
                start_new_session=True,  # a kill of the stage's process group leaves it alive to record that
            )
        self._sender = ThreadPoolExecutor(1)
        self._raised = False

    def failure(self) -> str | None:
        """Why the recorder gave up, if it did and no call has raised that yet."""
        return self._last_words() if self._process.poll() and not self._raised else None

    def tell(self, method: str, **arguments: object) -> None:
        """Has the method called soon; what comes of it is not waited for.

        Raises:
            StageError, ConnectionError: the store refused, this or what was told before.
        """
        self._send(method, arguments, waits=False)

    def ask(self, method: str, **arguments: object) -> None:
        """As `tell`, and returns when it is done."""
        self._send(method, arguments, waits=True)

    def abort(self, status: str, message: str, metrics: Mapping[str, float]) -> None:
        """Closes the run as FAILED or KILLED with last metrics; a recorder that has failed too is not waited for."""
        # Whatever fails now: the stage says why it stops, and that is what matters.
        with suppress(OSError, StageError):
            self.tell("add_metrics", values=metrics, step=0, time_ms=int(time.time() * 1000))
            self._send("end", {"status": status, "message": message}, waits=True, patience=PARTING)

    def _send(self, method: str, arguments: Mapping[str, object], waits: bool, patience: float | None = None) -> None:
        try:
            # By a thread of its own: a stop is raised in this one, and must not cut a message.
            self._sender.submit(self._connection.send, (method, arguments, waits)).result()
            if waits and self._connection.poll(patience):
                self._connection.recv()
        except (EOFError, OSError):
            self._process.wait()
            self._raised = True
            why = self._last_words()
            # A store that refuses by password refuses the next time too; the others may be back by then.
            denied = re.search(r"\b(401|403)\b|unauthori[sz]ed|denied|read-?only", why, re.IGNORECASE)
            raise (StageError if denied or self._process.returncode == DENIED else ConnectionError)(why) from None

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it left no message")
        died = (
            ""
            if self._process.returncode in (REFUSED, DENIED)
            else "the process that records the run in MLflow has died: "
        )
        return died + last
