"""The stage's end of the line to its recorder process: one JSON object a line, see `recorder` for the other end."""

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from runtime.errors import StageError

PARTING = 5.0  # seconds that a stage which stops waits for its record; the recorder goes on without it

HERE = Path(__file__).parents[2]  # the tree that this code is of


class Recorder:
    """Starts the recorder at once, so that it imports MLflow while the stage prepares.

    `tell` and `ask` have it call a method of its `store.RunLog`; the first, "begin", is what that is made from.
    """

    def __init__(self, root: Path):
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the recorder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runtime.tracking.recorder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            cwd=root,
            env=_own_code(),
            start_new_session=True,  # a kill of the stage's process group leaves it alive to record that
        )
        self._replies: queue.Queue[str] = queue.Queue()
        self._failure: str | None = None
        self._raised = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def failure(self) -> str | None:
        """Why the recorder gave up, if it did and no call has raised that yet."""
        return None if self._raised else self._failure

    def tell(self, method: str, **arguments: object) -> None:
        """Has the method called soon; what comes of it is not waited for.

        Raises:
            StageError, ConnectionError: the store refused, this or what was told before.
        """
        self._send(method, arguments, answer=False)

    def ask(self, method: str, **arguments: object) -> None:
        """As `tell`, and returns when it is done."""
        self._send(method, arguments, answer=True)
        if self._wait_for(method) == "failed":
            raise self._error()

    def abort(self, status: str, message: str, metrics: Mapping[str, float]) -> None:
        """Closes the run as FAILED or KILLED with last metrics; a recorder that has failed too is not waited for."""
        if not self._failure:
            # Whatever fails now: the stage says why it stops, and that is what matters.
            with suppress(OSError, StageError, queue.Empty):
                self._process.stdin.write(b"\n")  # ends a line that the stop may have cut
                self.tell("add_metrics", values=metrics, step=0, time_ms=int(time.time() * 1000))
                self._send("end", {"status": status, "message": message}, answer=True)
                self._wait_for("end", PARTING)
        self.close()

    def close(self) -> None:
        """Hangs up; a recorder whose run is still open marks it KILLED."""
        self._process.stdin.close()

    def _send(self, method: str, arguments: Mapping[str, object], answer: bool) -> None:
        line = json.dumps({"method": method, "arguments": arguments, "answer": answer})
        try:
            self._process.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            self._reader.join()
            raise self._error() from None

    def _error(self) -> Exception:
        self._raised = True
        # A store that refuses by password refuses the next time too; the others may be back by then.
        denied = re.search(r"\b(401|403)\b|unauthori[sz]ed|denied", self._failure, re.IGNORECASE)
        return (StageError if denied else ConnectionError)(self._failure)

    def _wait_for(self, method: str, seconds: float | None = None) -> str:
        """The next reply that is `method` or "failed"; for earlier ones a stop has kept the stage from waiting."""
        while (reply := self._replies.get(timeout=seconds)) not in (method, "failed"):
            pass
        return reply

    def _read(self) -> None:
        """Passes replies on; the recorder's end before that of the run is a failure."""
        for line in self._process.stdout:
            reply = json.loads(line)
            self._failure = reply.get("why")
            self._replies.put(reply["done"])
            if reply["done"] == "end":
                return
        if not self._failure:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "it left no message")
            self._failure = f"the process that records the run in MLflow has died: {last}"
            self._replies.put("failed")


def _own_code() -> dict[str, str]:
    """The environment of a process that takes its code from where this one has it, wherever it works."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))}
