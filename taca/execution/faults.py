"""What a stage says when it stops for a reason that its user can mend."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taca.errors import StageError
from taca.execution.watch import Stopped

LITTLE = 2**20  # bytes of free space below which any failure is taken for a full disk


class DiskFull(StageError):
    """A full disk, however the library that met it words that."""

    def __init__(self):
        super().__init__("the disk is full; free some space and run `dvc repro`, which goes on from the work so far.")


@contextmanager
def told(name: str) -> Iterator[None]:
    """Ends the process with one sentence and a status for a fault that is known; others keep their traceback."""
    try:
        yield
    except Stopped as stop:
        print(f"{name} stopped: {stop}; `dvc repro` goes on from the work so far.", file=sys.stderr)
        sys.exit(128 + stop.signum)
    except Exception as error:
        if not is_known(named(error, Path.cwd())):
            raise
        print("\n".join(f"{name}: {line}" for line in str(named(error, Path.cwd())).splitlines()), file=sys.stderr)
        sys.exit(1)


def named(error: BaseException, folder: Path) -> BaseException:
    """`error`, or `DiskFull` when that is behind it; `folder` is on the disk that is written to."""
    if isinstance(error, Stopped | StageError):
        return error
    cause: BaseException | None = error
    while cause is not None:
        # Libraries in Rust pass the system's words on, those in C++ not even these.
        if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(cause):
            return DiskFull()
        cause = cause.__cause__ or cause.__context__
    return DiskFull() if shutil.disk_usage(folder).free < LITTLE else error


def is_known(error: BaseException) -> bool:
    """Whether `error` says by itself what to do."""
    return isinstance(error, Stopped | StageError)
