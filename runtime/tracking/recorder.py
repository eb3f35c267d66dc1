"""The recorder process: calls the methods of a `RunLog` that the stage names.

    ("begin", {"uri": ..., ...}, False), then any others, then "end"

are what comes through the connection: a method, its arguments, and whether the stage waits until it was called. A stage
that hangs up before "end" was killed, and its run is marked so. Where the store fails, the last line that this process
prints says why. Metrics are buffered: a batch costs what a single one does.
"""

import gc
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from runtime.errors import StageError
from runtime.tracking.client import DENIED, REFUSED
from runtime.tracking.place import shown
from runtime.tracking.system import BEAT, Sampler, gpu_metrics

FLUSH_EVERY = 2.0  # seconds
INSIST = 30.0  # seconds over which a store that fails is asked again
# No telemetry, no progress bars; a server that hangs is given up soon.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds, until the run is open
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # `_insist` does that
}
# What a stage would have said that hung up.
KILLED = ("end", {"status": "KILLED", "message": "the process of the stage was killed"}, False)


def main(connection: Connection) -> None:
    """Records one run; ends this process, without a traceback, which nobody would read."""
    events: queue.SimpleQueue[tuple] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, events), daemon=True).start()
    uri = ""
    try:
        patience = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # seconds, for uploads
        os.environ.update(QUIET)
        gc.disable()  # collecting while MLflow is imported takes a quarter of that time
        from runtime.tracking.above import Above
        from runtime.tracking.store import RunLog

        gc.enable()
        method, said, _ = events.get()
        if method == "begin":
            uri = said["uri"]
            sampler = Sampler(said["pid"], float(said["pid_started"]))
            above = Above(said) if said["dvc"] else None
            run = RunLog(said | {"parent": above.run_id} if above else said)
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = patience
            with gpu_metrics(run.run_id, uri):
                _record(run, above, events, sampler, connection)
            if above:
                above.see_out()
    except StageError as error:
        print(error, flush=True)
        os._exit(DENIED)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        where = f"MLflow at {shown(uri)}"
        print(f"{where} cannot be written ({lines[0]}); mend that or correct MLFLOW_TRACKING_URI.", flush=True)
        os._exit(REFUSED)
    # The interpreter's own end takes a second after MLflow was imported.
    os._exit(0)


def _read(connection: Connection, events: queue.SimpleQueue) -> None:
    """Takes in what the stage says, which need not wait for the store then."""
    with suppress(EOFError, OSError):  # it has hung up, maybe in the middle of a word
        while True:
            events.put(connection.recv())
    events.put(KILLED)


def _record(run: Any, above: Any, events: queue.SimpleQueue, sampler: Sampler, connection: Connection) -> None:
    """Does what the stage says until the run's end, and what is due meanwhile: samples, and flushing of metrics."""
    _insist(run.kill_orphans)
    flushed = beaten = time.monotonic()
    method = ""
    while method != "end":
        event = _next(events, sampler)
        sampler.sample(run)
        if event:
            method, arguments, waits = event
            _insist(partial(getattr(run, method), **arguments))
            if waits:
                with suppress(OSError):  # the stage is gone
                    connection.send(True)
        if time.monotonic() - flushed > FLUSH_EVERY:
            with suppress(Exception):  # what cannot be written now is tried the next time
                run.flush()
            flushed = time.monotonic()
        if time.monotonic() - beaten > BEAT:
            with suppress(Exception):
                for lives in filter(None, (run, above)):
                    lives.beat()
            beaten = time.monotonic()


def _next(events: queue.SimpleQueue, sampler: Sampler) -> tuple | None:
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


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])))
