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
from typing import Any

from runtime.tracking.place import shown
from runtime.tracking.system import Sampler

FLUSH_EVERY = 2.0  # seconds
INSIST = 30.0  # seconds over which a store that fails is asked again
KILLED = {"status": "KILLED", "message": "the process of the stage was killed"}


def main() -> None:
    """Records one run; never raises, since nobody reads its traceback."""
    replies, sys.stdout = sys.stdout, sys.stderr  # MLflow prints
    reply = _replier(replies)
    events: queue.Queue[dict | None] = queue.Queue()
    threading.Thread(target=_read, args=(events,), daemon=True).start()
    uri = ""
    try:
        patience = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # seconds, for uploads
        _quieten()
        gc.disable()  # collecting while MLflow is imported takes a quarter of that time
        from runtime.tracking.store import RunLog

        gc.enable()
        begin = events.get()
        if begin is not None:
            said = begin["arguments"]
            uri = said["uri"]
            sampler = Sampler(said["pid"], float(said["pid_started"]))
            run = RunLog(said)
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = patience
            if begin["answer"]:
                reply({"done": "begin"})
            _record(run, events, sampler, reply)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        why = f"MLflow at {shown(uri)} cannot be written ({lines[0]}); mend that or correct MLFLOW_TRACKING_URI."
        reply({"done": "failed", "why": why})
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


def _record(run: Any, events: queue.Queue, sampler: Sampler, reply: Callable[[dict], None]) -> None:
    """Does what the stage says until the run's end, and what time says meanwhile: samples, and flushes metrics."""
    _insist(run.kill_orphans)
    flushed = time.monotonic()
    method = ""
    while method != "end":
        event = _next(events, sampler)
        run.add_metrics(sampler.due(), step=sampler.seconds(), time_ms=int(time.time() * 1000))
        if event:
            method = event["method"]
            _insist(partial(getattr(run, method), **event["arguments"]))
            if event["answer"]:
                reply({"done": method})
        if time.monotonic() - flushed > FLUSH_EVERY:
            run.try_flush()
            flushed = time.monotonic()


def _next(events: queue.Queue, sampler: Sampler) -> dict | None:
    """What the stage says next, for which this waits a moment; that it was killed is said for it."""
    try:
        event = events.get(timeout=FLUSH_EVERY)
    except queue.Empty:
        if not sampler.is_gone():
            return None
        event = None
    return event or {"method": "end", "arguments": KILLED, "answer": False}


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
    events.put(None)


def _replier(stream: Any) -> Callable[[dict], None]:
    def reply(message: dict) -> None:
        with suppress(BrokenPipeError):  # the stage is gone
            print(json.dumps(message), file=stream, flush=True)

    return reply


if __name__ == "__main__":
    main()
