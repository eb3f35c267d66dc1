"""One part in a process of its own, so that its memory is gone when it ends, however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory


def run_part(arguments: list[str], limit: float) -> dict:
    """Runs `python -m benchmarks.gpu ... --rows FILE`, which writes a row as soon as it is measured.

    Returns `rows`, the `seconds` that it took, and, if it did not end well, one sentence as `failed`.
    """
    start = time.monotonic()
    with TemporaryDirectory() as folder:
        rows, errors = Path(folder) / "rows", Path(folder) / "errors"
        rows.touch()
        with errors.open("w") as file:
            command = [sys.executable, "-m", "benchmarks.gpu", *arguments, "--rows", str(rows)]
            process = subprocess.Popen(command, stderr=file, start_new_session=True)
            failed = _failure(process, errors, limit)
        found = [json.loads(line) for line in rows.read_text().splitlines()]
    report = {"rows": found, "seconds": round(time.monotonic() - start, 1)}
    return report | ({"failed": failed} if failed else {})


def _failure(process: subprocess.Popen, errors: Path, limit: float) -> str | None:
    try:
        code = process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        # With the compiler's own processes.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"It was ended after {limit:.0f} seconds, its limit."
    if code == 0:
        return None
    said = [line for line in errors.read_text(errors="replace").splitlines() if line.strip()]
    # An exception's last line may go on over several; its first names it.
    named = [line for line in said if not line.startswith((" ", "Traceback"))]
    return (named or said or [f"It ended with status {code} and said nothing."])[-1][:500]
