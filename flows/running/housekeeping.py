"""What comes before a flow: what a killed one left is ended, records and locks that say it still runs are mended."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import httpx
import psutil

from flows.running.process import end_left, leave_note, lives
from runtime.errors import StageError
from runtime.execution.lock import if_free

LOCK = Path(".work") / "locks" / "flow.lock"
NOTES = Path(".work") / "flows"  # a file for each flow that runs: its Prefect id, its process
DVC_LOCKS = Path(".dvc") / "tmp" / "rwlock"


@contextmanager
def only_flow(root: Path) -> Iterator[None]:
    """Holds this workspace for one flow, and puts it in order first.

    Raises:
        StageError: another flow runs in it.
    """
    with if_free(root / LOCK) as free:
        if not free:
            raise StageError(
                f"Another flow runs in {root}: wait for it or stop it; a second one takes a workspace of its own "
                "(`git worktree add`)."
            )
        for note in (root / ".work" / "groups").glob("*.txt"):
            if end_left(note):
                print(f"Ended what a killed flow had left running of {note.stem}.")
        drop_temporary(root)
        if drop_stale_locks(root):
            print("Removed what killed commands of DVC had locked.")
        yield


@contextmanager
def noted_flow(root: Path) -> Iterator[None]:
    """Notes the running Prefect flow run, and sets those of flows that were killed to crashed.

    So are tasks of a flow that is stopped which cannot say so, since they wait to be tried again.
    """
    from prefect.runtime import flow_run

    folder = root / NOTES
    for note in folder.glob("*.txt"):
        if not lives(note):
            _crash(note.stem, "Its process, or its server, was killed.")
            note.unlink()
    mine = folder / f"{flow_run.id}.txt"
    leave_note(mine, os.getpid())
    try:
        yield
    except BaseException:
        _crash(str(flow_run.id), "The flow was stopped.", and_itself=False)
        raise
    finally:
        if not server_is_gone():  # else the next flow tells it
            mine.unlink(missing_ok=True)


def server_is_gone() -> bool:
    """Whether no Prefect server is there any more to be told of the running flow."""
    from prefect.settings import PREFECT_API_URL

    try:
        httpx.get(f"{PREFECT_API_URL.value()}/health", timeout=5.0)
    except httpx.HTTPError as error:
        return not isinstance(error, httpx.TimeoutException)  # one that is busy is there
    return False


def drop_temporary(root: Path) -> None:
    """Removes workspaces that killed commands of DVC have left, where no process works in them."""
    working = [Path(process.info["cwd"] or "/") for process in psutil.process_iter(["cwd"])]
    for folder in (root / ".dvc" / "tmp" / "exps" / "standalone").glob("tmp*"):
        if not any(place.is_relative_to(folder) for place in working):
            shutil.rmtree(folder, ignore_errors=True)


def drop_stale_locks(root: Path) -> bool:
    """Removes entries whose process is gone, or the whole file if a kill has cut it off; whether there were any.

    DVC knows holders by their numbers alone: one that another process has got since would hold the lock as long as
    that lives.
    """
    if read_locks(root) is not None and not stale_holders(root):
        return False
    from dvc.lock import make_lock

    path = root / DVC_LOCKS
    # DVC's own guard of the file, and a second look inside: a command may have written meanwhile.
    with make_lock(str(path.with_suffix(".lock")), tmp_dir=str(path.parent)):
        locks, stale = read_locks(root) or {}, stale_holders(root)
        write = {held: entry for held, entry in locks.get("write", {}).items() if entry["pid"] not in stale}
        read = {held: _others(readers, stale) for held, readers in locks.get("read", {}).items()}
        path.write_text(json.dumps({"write": write, "read": {held: left for held, left in read.items() if left}}))
    return True


def read_locks(root: Path) -> dict | None:
    """What DVC has locked; None for a file that is cut off."""
    path = root / DVC_LOCKS
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        return None


def holders(locks: Mapping) -> list[dict]:
    """Everything that holds a lock: `pid` and `cmd`."""
    return [*locks.get("write", {}).values(), *chain.from_iterable(locks.get("read", {}).values())]


def stale_holders(root: Path) -> set[int]:
    """Process numbers in the file that are nobody's, or of a process younger than the file."""
    locks = read_locks(root)
    return {entry["pid"] for entry in holders(locks) if not _lived(entry["pid"], root / DVC_LOCKS)} if locks else set()


def _crash(flow_run_id: str, why: str, and_itself: bool = True) -> None:
    """Sets tasks of a flow run that still count as running to crashed, and itself."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    with get_client(sync_client=True) as client, suppress(ObjectNotFound, httpx.HTTPError):
        if and_itself and not client.read_flow_run(flow_run_id).state.is_final():
            client.set_flow_run_state(flow_run_id, Crashed(message=why), force=True)
        for run in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))):
            if not run.state.is_final():
                client.set_task_run_state(run.id, Crashed(message=why), force=True)


def _lived(pid: int, file: Path) -> bool:
    try:
        return psutil.Process(pid).create_time() <= file.stat().st_mtime
    except psutil.NoSuchProcess:
        return False


def _others(readers: list[dict], stale: set[int]) -> list[dict]:
    return [entry for entry in readers if entry["pid"] not in stale]
