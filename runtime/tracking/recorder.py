"""The recorder process: reads one JSON object a line from the stage and writes it to MLflow.

    begin, then any of metrics, artifact, inputs, then outs and end

It answers `{"done": "begun" | "stored" | "ended"}`, or `{"failed": why}` and ends. A stage that hangs up before `end`
was killed, and its run is marked so. Metrics are buffered: a batch costs what a single one does.
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
from typing import Any

from runtime.tracking.place import shown
from runtime.tracking.system import Sampler

FLUSH_EVERY = 2.0  # seconds
INSIST = 30.0  # seconds over which a store that fails is asked again


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
            uri = begin["uri"]
            sampler = Sampler(begin["pid"])
            run = RunLog(begin)
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = patience
            reply({"done": "begun"})
            _record(run, events, sampler, reply)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        why = f"MLflow at {shown(uri)} cannot be written ({lines[0]}); mend that or correct MLFLOW_TRACKING_URI."
        reply({"failed": why})
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
    _insist(run.kill_orphans)
    flushed = time.monotonic()
    while True:
        try:
            event = events.get(timeout=FLUSH_EVERY)
        except queue.Empty:
            event = None if sampler.stage_is_gone() else {"op": "wait"}
        if sampler.is_due():
            run.add_metrics(sampler.sample(), step=sampler.seconds(), time_ms=_now_ms())
        if event is None:
            event = {"op": "end", "status": "KILLED", "message": "the process of the stage was killed"}
        if event["op"] == "end":
            _insist(lambda: run.end(event["status"], event["message"]))  # noqa: B023
            reply({"done": "ended"})
            return
        _handle(run, event, reply)
        if time.monotonic() - flushed > FLUSH_EVERY:
            run.try_flush()
            flushed = time.monotonic()


def _handle(run: Any, event: dict, reply: Callable[[dict], None]) -> None:
    op = event.pop("op")
    if op == "metrics":
        run.add_metrics(event["values"], event["step"], event["time_ms"])
    elif op == "artifact":
        _insist(lambda: run.take_artifact(event["path"], event["folder"]))
    elif op == "inputs":
        _insist(lambda: run.log_inputs(event["inputs"]))
    elif op == "outs":
        _insist(lambda: run.log_outs(event["outs"], event["tags"], event["metrics"]))
        reply({"done": "stored"})


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


def _now_ms() -> int:
    return int(time.time() * 1000)


if __name__ == "__main__":
    main()
