"""Shows what no live run, commit or workspace refers to, in DVC's cache, MLflow and Prefect; removes it when told to.

A run is live until its user deletes it in MLflow: with it go, at the next `make gc`, its artifacts, the objects that
only it has made or read, and its flow run.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.errors import TOLD
from flows.garbage import Garbage
from runtime.errors import StageError

SHOWN = 20  # items of a store that are listed


def main() -> None:
    """Prints what there is, store by store, and with `--remove` removes it."""
    parser = argparse.ArgumentParser(prog="python -m flows.gc", description=__doc__.partition("\n")[0])
    parser.add_argument("--remove", action="store_true", help="remove it")
    parser.add_argument("--days", type=float, default=30.0, help="age of flow runs and failed runs (default: 30)")
    options = parser.parse_args()
    root = Path.cwd()
    try:
        with ExitStack() as held:
            if options.remove:
                held.enter_context(_alone(root))
            size = 0
            for garbage in _collect(root, options.days, held):
                print("\n".join(_lines(garbage)), flush=True)
                size += garbage.size
                if options.remove:
                    garbage.remove()
    except TOLD as error:
        sys.exit(str(error))
    print(f"{_shown(size)} removed." if options.remove else f"{_shown(size)}; `make gc REMOVE=1` removes it.")
    sys.stdout.flush()
    os._exit(0)  # MLflow's exit handlers take a second


def _collect(root: Path, days: float, held: ExitStack) -> Iterator[Garbage]:
    from flows.garbage.cache import unused_objects
    from flows.garbage.flow_runs import ended_flow_runs
    from flows.garbage.references import live_words
    from flows.garbage.runs import deleted_runs, old_failures
    from flows.garbage.workspaces import left_workspaces
    from flows.services.server import prefect_server

    words = live_words(root)
    yield Garbage("workspaces", "not looked at: a flow runs here") if _flow_lives(root) else left_workspaces(root)
    yield unused_objects(root, words)
    yield deleted_runs(root, words)
    yield old_failures(root, days)
    if os.environ.get("PREFECT_API_URL") or (root / ".prefect" / "prefect.db").exists():
        held.enter_context(prefect_server(root))
        yield ended_flow_runs(words, days)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keeps flows and DVC out while things are removed.

    Raises:
        StageError: one of them works here.
    """
    from dvc.lock import LockError
    from dvc.repo import Repo

    from flows.running.housekeeping import only_flow

    with only_flow(root), Repo(str(root)) as repo:
        if _flow_lives(root):
            raise StageError(f"A flow runs in {root}: wait until it has ended, or stop it.")
        try:
            repo.lock.lock()
        except LockError:
            raise StageError(f"DVC works in {root}: wait until it has ended.") from None
        try:
            yield
        finally:
            repo.lock.unlock()


def _flow_lives(root: Path) -> bool:
    """Whether a flow works here, one that a worker has started too."""
    from flows.checks.leftovers import lives
    from flows.running.housekeeping import NOTES

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
