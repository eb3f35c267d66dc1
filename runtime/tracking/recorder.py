"""The recorder process: calls the methods of a `RunLog` that it reads from the stage, one JSON object a line.

    {"method": "begin", "arguments": {"uri": ..., ...}, "answer": false}, then any others, then "end"

Where an answer is wanted it is `{"done": method}`; after `{"done": "failed", "why": ...}` it ends. A stage that hangs
up before `end` was killed, and its run is marked so. Metrics are buffered: a batch costs what a single one does.
"""

import gc
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TextIO

from runtime.tracking.place import shown
from runtime.tracking.system import Sampler

FLUSH_EVERY = 2.0  # seconds
INSIST = 30.0  # seconds over which a store that fails is asked again
# What a stage would have said that hung up.
KILLED = {
    "method": "end",
    "arguments": {"status": "KILLED", "message": "the process of the stage was killed"},
    "answer": False,
}


def main() -> None:
    """Records one run; never raises, since nobody reads its traceback."""
    replies, sys.stdout = sys.stdout, sys.stderr  # MLflow prints
    events: queue.Queue[dict] = queue.Queue()
    threading.Thread(target=_read, args=(events,), daemon=True).start()
    uri = ""
    try:
        patience = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # seconds, for uploads
        _quieten()
        gc.disable()  # collecting while MLflow is imported takes a quarter of that time
        from runtime.tracking.store import RunLog

        gc.enable()
        begin = events.get()
        if begin is not KILLED:
            said = begin["arguments"]
            uri = said["uri"]
            sampler = Sampler(said["pid"], float(said["pid_started"]))
            run = RunLog(said)
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = patience
            _reply(replies, begin)
            _record(run, events, sampler, replies)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        why = f"MLflow at {shown(uri)} cannot be written ({lines[0]}); mend that or correct MLFLOW_TRACKING_URI."
        _reply(replies, {"method": "failed", "answer": True}, why=why)
    # The interpreter's own end takes a second after MLflow was imported.
    os._exit(0)


def _quieten() -> None:
    """No telemetry, no progress bars; a server that hangs is given up soon."""
    os.environ.update(
        MLFLOW_DISABLE_TELEMETRY="true",
        DO_NOT_TRACK="true",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
        MLFLOW_HTTP_REQUEST_TIMEOUT="5",  # seconds, until the run is open
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",  # `_insist` does that
    )


def _record(run: Any, events: queue.Queue, sampler: Sampler, replies: TextIO) -> None:
    """Does what the stage says until the run's end, and what is due meanwhile: samples, and flushing of metrics."""
    _insist(run.kill_orphans)
    flushed = time.monotonic()
    method = ""
    while method != "end":
        event = _next(events, sampler)
        sampler.sample(run)
        if event:
            method = event["method"]
            _insist(partial(getattr(run, method), **event["arguments"]))
            _reply(replies, event)
        if time.monotonic() - flushed > FLUSH_EVERY:
            with suppress(Exception):  # what cannot be written now is tried the next time
                run.flush()
            flushed = time.monotonic()


def _next(events: queue.Queue, sampler: Sampler) -> dict | None:
    """What the stage says next, for which this waits a moment; its workers may hold the line when it was killed."""
    try:
        return events.get(timeout=FLUSH_EVERY)
    except queue.Empty:
        return KILLED if sampler.is_gone() else None


def _insist(write: Callable[[], None]) -> None:
    """Calls `write` until it works, for `INSIST` seconds; a server may be restarted under a long training."""
    deadline = time.monotonic() + INSIST
    while True:
        try:
            return write()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def _read(events: queue.Queue) -> None:
    for line in sys.stdin:
        with suppress(json.JSONDecodeError):  # a line that the stage's stop has cut
            events.put(json.loads(line))
    events.put(KILLED)


def _reply(replies: TextIO, event: dict, **more: str) -> None:
    with suppress(BrokenPipeError):  # the stage is gone
        if event["answer"]:
            print(json.dumps({"done": event["method"], **more}), file=replies, flush=True)


if __name__ == "__main__":
    main()
