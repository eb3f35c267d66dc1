"""What a stage says when it stops for a reason that its user can mend.

DVC hides a stage's exit code, so the stage also leaves a note in `.work/failures/`, or where `TACA_FAILURE_FILE` says:
the fault's class (`params`, `transient`, `disk` or `other`) and its sentence. Flows try again what is transient.
"""

import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.errors import StageError
from runtime.execution.watch import Stopped
from runtime.params import ParamsError

# What the network raises through the libraries that stages use; all of these are OSErrors or built on them.
_PASSING = (ConnectionError, TimeoutError)
LITTLE = 2**20  # bytes of free space below which any failure is taken for a full disk


class DiskFull(StageError):
    """A full disk, however the library that met it words that."""

    def __init__(self):
        super().__init__("the disk is full; free some space and run `dvc repro`, which goes on from the work so far.")


class NotPermitted(StageError):
    """A file or folder that this user, or a disk that is mounted read-only, does not let be written or read."""

    def __init__(self, error: OSError):
        where = error.filename or "A file that is needed"
        super().__init__(
            f"{where} cannot be used ({error.strerror}): `chmod` or `chown` it, or work in a copy of yours."
        )


@contextmanager
def told(name: str, known: tuple[type[Exception], ...]) -> Iterator[None]:
    """Ends the process with one sentence and a status for a fault that is known; others keep their traceback."""
    note = Path(os.environ.get("TACA_FAILURE_FILE") or _note(Path.cwd(), name))
    try:
        with suppress(PermissionError):
            note.unlink(missing_ok=True)
        yield
    except Stopped as stop:
        print(f"{name} stopped: {stop}; `dvc repro` goes on from the work so far.", file=sys.stderr)
        sys.exit(128 + stop.signum)
    except Exception as error:
        cause = named(error, Path.cwd(), known)
        said = sentence(cause, name)
        _leave(note, cause, said)
        if not is_known(cause, known):
            raise
        print("\n".join(f"{name}: {line}" for line in said.splitlines()), file=sys.stderr)
        sys.exit(1)


def sentence(error: BaseException, name: str) -> str:
    """What stage `name` says of a fault: its own words and, where they name an argument, the key that it comes from."""
    argument = getattr(error, "argument", None)
    key = f" (`{name.partition('@')[0]}.{argument}` in params.yaml)" if argument else ""
    return (str(error) or type(error).__name__) + key


def read_failure(root: Path, name: str) -> dict[str, str] | None:
    """The note that stage `name` left in workspace `root` when it last failed: `class` and `message`; None without."""
    note = _note(root, name)
    return json.loads(note.read_text()) if note.exists() else None


def _note(root: Path, name: str) -> Path:
    return root / ".work" / "failures" / f"{name.replace('@', '-')}.json"


def _leave(note: Path, error: BaseException, said: str) -> None:
    kinds = {ParamsError: "params", DiskFull: "disk", _PASSING: "transient"}
    found = next((kind for cause, kind in kinds.items() if isinstance(error, cause)), "other")
    # A full disk may not even take the note: then DVC's own words have to do.
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"class": found, "message": said}))


def named(error: BaseException, folder: Path, known: tuple[type[Exception], ...]) -> BaseException:
    """`error`, or what is behind it: `DiskFull` or `NotPermitted`; `folder` is on the disk that is written to."""
    if is_known(error, known):
        return error
    cause: BaseException | None = error
    while cause is not None:
        # Libraries in Rust pass the system's words on, those in C++ not even these.
        if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(cause):
            return DiskFull()
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return NotPermitted(cause)
        cause = cause.__cause__ or cause.__context__
    return DiskFull() if shutil.disk_usage(folder).free < LITTLE else error


def is_known(error: BaseException, known: tuple[type[Exception], ...]) -> bool:
    """Whether `error` says by itself what to do. What the system raises has a number, and says only what failed."""
    passing = isinstance(error, _PASSING) and error.errno is None
    return passing or isinstance(error, (Stopped, StageError, *known))
