"""DVC's commands, forked from a process that has imported DVC: one starts in a tenth of a second instead of a whole."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from flows.running.process import Finished, follow
from runtime.errors import StageError


def run_dvc(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stop: threading.Event,
    on_line: Callable[[str], None] = lambda line: None,
    note: Path | None = None,
) -> Finished:
    """Runs `dvc <arguments>`, which waits for DVC's locks, until it ends or `stop` is set."""
    process = forks().start(["--wait-for-lock", *arguments], cwd=cwd, env=env)
    return follow(process, stop=stop, on_line=on_line, note=note)


@cache
def forks() -> "Forks":
    """The one of this process; a first call some time before the first command hides its start."""
    return Forks()


class Forks:
    """Forks commands of DVC. Called from many threads."""

    def __init__(self):
        self._guard = threading.Lock()
        self._flow, theirs = socket.socketpair()
        with theirs:
            # A session of its own: a Ctrl-C is for the flow. Where it works, no folder needs to stay.
            subprocess.Popen(
                [sys.executable, "-m", "flows.running.fork_server", str(theirs.fileno())],
                cwd=Path(__file__).parents[2],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def start(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> "Forked":
        """Starts `dvc <arguments>` in a process group of its own.

        Raises:
            StageError: the process that forks is gone.
        """
        read, write = os.pipe()
        reply, theirs = socket.socketpair()
        request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}).encode()
        # Where nobody reads any more, no answer comes either, which says it.
        with self._guard, theirs, suppress(BrokenPipeError):
            socket.send_fds(self._flow, [struct.pack("!I", len(request))], [write, theirs.fileno()])
            self._flow.sendall(request)
        os.close(write)
        return Forked(reply, read)


class Forked:
    """A running command: what `flows.running.process` needs of a `subprocess.Popen`."""

    def __init__(self, reply: socket.socket, output: int):
        with reply:
            self._numbers = reply.makefile("r")
        pid = self._numbers.readline()
        if not pid:
            os.close(output)
            raise StageError(
                "DVC's commands cannot be started: the process that imports DVC has ended, and said why; `make doctor` "
                "looks at the installation, and then start again."
            )
        self.pid = int(pid)
        self.stdout = os.fdopen(output, errors="replace")
        self.returncode: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def poll(self) -> int | None:
        """The status, None while the command runs."""
        return self.returncode

    def wait(self) -> int:
        """The status, when the command has ended."""
        self._ended.wait()
        return self.returncode

    def _follow(self) -> None:
        # Without an answer the process that forks was killed; the command itself is ended by its group.
        with self._numbers:
            said = self._numbers.readline()
        self.returncode = int(said) if said else -signal.SIGKILL
        self._ended.set()
