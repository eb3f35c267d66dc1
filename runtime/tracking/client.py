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
from pathlib import Path

from runtime.errors import StageError

PARTING = 5.0  # seconds that a stage which stops waits for its record; the recorder goes on without it

HERE = Path(__file__).parents[2]  # the tree that this code is of


class Recorder:
    """Starts the recorder at once, so that it imports MLflow while the stage prepares; `begin` opens the run."""

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

    def begin(self, run: Mapping, wait: bool) -> None:
        """Opens the run that `run` describes (see `recorder.Description`); with `wait`, returns when it is open.

        Raises:
            StageError: waiting, and the store refused.
        """
        self._send("begin", **run)
        if wait:
            self._expect("begun")

    def failure(self) -> str | None:
        """Why the recorder gave up, if it did and no call has raised that yet."""
        return None if self._raised else self._failure

    def log_metrics(self, values: Mapping[str, float], step: int, time_ms: int) -> None:
        """Adds one point to each metric's curve."""
        self._send("metrics", values={key: float(value) for key, value in values.items()}, step=step, time_ms=time_ms)

    def log_artifact(self, path: Path, folder: str) -> None:
        """Stores a file in the run; the recorder deletes `path` after."""
        self._send("artifact", path=str(path), folder=folder)

    def log_inputs(self, inputs: list[Mapping]) -> None:
        """Notes data that the run reads: name, path and md5 of each."""
        self._send("inputs", inputs=inputs)

    def log_outs(self, outs: list[Mapping], tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Stores finished outputs (path, content, md5, size, files) and last facts; returns when they are stored.

        Raises:
            StageError: the store refused.
        """
        self._send("outs", outs=outs, tags=tags, metrics=metrics)
        self._expect("stored")

    def finish(self) -> None:
        """Closes the run as FINISHED.

        Raises:
            StageError: the store refused.
        """
        self._send("end", status="FINISHED", message="")
        self._expect("ended")

    def abort(self, status: str, message: str, metrics: Mapping[str, float]) -> None:
        """Closes the run as FAILED or KILLED with last metrics; a recorder that has failed too is not waited for."""
        if not self._failure:
            try:
                self._process.stdin.write(b"\n")  # ends a line that the stop may have cut
                self.log_metrics(metrics, step=0, time_ms=int(time.time() * 1000))
                self._send("end", status=status, message=message)
                self._wait_for("ended", PARTING)
            except (OSError, StageError, queue.Empty):
                pass  # the stage says why it stops, and that is what matters now
        self.close()

    def close(self) -> None:
        """Hangs up; a recorder whose run is still open marks it KILLED."""
        self._process.stdin.close()

    def _send(self, op: str, **values: object) -> None:
        try:
            self._process.stdin.write(json.dumps({"op": op, **values}).encode() + b"\n")
        except BrokenPipeError:
            self._reader.join()
            raise self._error() from None

    def _expect(self, word: str) -> None:
        if self._wait_for(word) == "failed":
            raise self._error()

    def _error(self) -> Exception:
        self._raised = True
        # A store that refuses by password refuses the next time too; the others may be back by then.
        denied = re.search(r"\b(401|403)\b|unauthori[sz]ed|denied", self._failure, re.IGNORECASE)
        return (StageError if denied else ConnectionError)(self._failure)

    def _wait_for(self, word: str, seconds: float | None = None) -> str:
        """The next reply that is `word` or "failed"; earlier ones were not waited for."""
        reply = ""
        while reply not in (word, "failed"):
            reply = self._replies.get(timeout=seconds)
        return reply

    def _read(self) -> None:
        """Passes replies on; anything but a known word, the end included, is a failure."""
        for line in self._process.stdout:
            reply = json.loads(line)
            if "failed" in reply:
                self._failure = reply["failed"]
            self._replies.put(reply.get("done", "failed"))
            if reply.get("done") == "ended":
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
