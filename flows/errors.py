"""What ends a flow's command with its sentence alone."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compbench.errors import CompbenchError
from lab.errors import LabError
from runtime.errors import StageError
from runtime.execution.faults import is_known, named
from runtime.tracking.system import user

TOLD = (StageError, LabError, CompbenchError, ConnectionError, TimeoutError)


@contextmanager
def told() -> Iterator[None]:
    """Ends the process with one sentence, and status 1, for a fault that its user can mend."""
    os.environ.setdefault("USER", user())  # DVC fails where the system has no name for its user
    try:
        yield
    except Exception as error:
        cause = named(error, Path.cwd(), TOLD)
        if not is_known(cause, TOLD):
            raise
        sys.exit(str(cause))


def said(error: Exception) -> str:
    """The first line of what an error says, or else its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
