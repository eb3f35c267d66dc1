"""Shows what no live run, commit or workspace refers to, in DVC's cache, MLflow and `.work`; removes it when told to.

A run is live until its user deletes it in MLflow: with it go, at the next `make gc`, its artifacts and the objects that
only it has made or read. Prefect's server clears its own database.
"""

import argparse
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from flows.errors import told
from flows.garbage import Garbage
from flows.running.housekeeping import NOTES, only_flow
from flows.running.process import lives
from flows.running.repository import repository
from runtime.errors import StageError

SHOWN = 20  # items of a store that are listed


def main() -> None:
    """Prints what there is, store by store, and with `--remove` removes it."""
    parser = argparse.ArgumentParser(prog="python -m flows.gc", description=__doc__.partition("\n")[0])
    parser.add_argument("--remove", action="store_true", help="remove it")
    parser.add_argument("--days", type=float, default=30.0, help="age of unfinished work and failed runs (default: 30)")
    options = parser.parse_args()
    root = Path.cwd()
    with told(), _alone(root) if options.remove else nullcontext():
        if not (math.isfinite(options.days) and options.days >= 0):
            raise StageError(f"--days is {options.days:g}: it must be a finite number of at least 0, such as 30.")
        size = 0
        for garbage in _collect(root, options.days):
            print("\n".join(_lines(garbage)), flush=True)
            size += garbage.size
            if options.remove:
                garbage.remove()
    print(f"{_shown(size)} removed." if options.remove else f"{_shown(size)}; `make gc REMOVE=1` removes it.")
    sys.stdout.flush()
    os._exit(0)  # MLflow's exit handlers take a second


def _collect(root: Path, days: float) -> Iterator[Garbage]:
    from flows.garbage.cache import unused_objects
    from flows.garbage.runs import deleted_runs, live_words, old_failures
    from flows.garbage.workspaces import left_workspaces

    words = live_words(root)
    yield Garbage("workspaces", "not looked at: a flow runs here") if _flow_lives(root) else left_workspaces(root, days)
    yield unused_objects(root, words)
    yield deleted_runs(root, words)
    yield old_failures(root, days)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keeps flows and DVC out while things are removed.

    Raises:
        StageError: one of them works here.
    """
    from dvc.lock import LockError

    with only_flow(root), repository(root) as repo:
        if _flow_lives(root):
            raise StageError(f"A flow runs in {root}: wait until it has ended, or stop it.")
        try:
            with repo.lock:
                yield
        except LockError:
            raise StageError(f"DVC works in {root}: wait until it has ended.") from None


def _flow_lives(root: Path) -> bool:
    """Whether a flow works here, one that a worker has started too."""
    return any(lives(note) for note in (root / NOTES).glob("*.txt"))


def _lines(garbage: Garbage) -> Iterator[str]:
    yield f"{garbage.store:<10}  {_shown(garbage.size):>9}  {garbage.text}"
    yield from (f"{'':<23}{item}" for item in garbage.items[:SHOWN])
    if len(garbage.items) > SHOWN:
        yield f"{'':<23}and {len(garbage.items) - SHOWN} more"


def _shown(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


if __name__ == "__main__":
    main()
