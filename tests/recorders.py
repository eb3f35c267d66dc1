"""Recorders of stages that come from one process, which has imported MLflow: that is most of what they take.

    python -m tests.recorders SOCKET

starts them for the programs that have called `use`; `test_recorder.py` and the slow tests of real stages start them as
users do.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

from runtime.tracking import client, recorder

PLACE = "TESTS_RECORDERS"  # the variable with the socket's path
DIED = b"\xff"


class Forked:
    """The process of a recorder, as `subprocess.Popen` starts one."""

    returncode: int | None = None

    def __init__(self, command: list[str], stdout, cwd: Path, env: dict[str, str], **_: object):
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(os.environ[PLACE])
        socket.send_fds(self._line, [b"{"], [int(command[-1]), stdout.fileno()])
        self._line.sendall(json.dumps({"cwd": str(cwd), "env": dict(env)})[1:].encode())
        self._line.shutdown(socket.SHUT_WR)

    def poll(self) -> int | None:
        ended = self.returncode is None and select.select([self._line], [], [], 0)[0]
        return self.wait() if ended else self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            (self.returncode,) = self._line.recv(1) or DIED
        return self.returncode


def use() -> None:
    """Has this process start its recorders so, where there is a socket."""
    if PLACE in os.environ:
        client.subprocess = SimpleNamespace(Popen=Forked, DEVNULL=subprocess.DEVNULL)


@contextmanager
def serving() -> Iterator[str]:
    """Yields the path of the socket; what connects before MLflow is imported waits."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        path = f"{folder}/recorders"
        listening.bind(path)
        listening.listen(64)
        number = listening.fileno()
        command = [sys.executable, "-m", "tests.recorders", str(number)]
        server = subprocess.Popen(command, pass_fds=[number], cwd=Path(__file__).parent.parent)
        try:
            yield path
        finally:
            server.kill()
            server.wait()


def main() -> None:
    os.environ.update(recorder.QUIET)
    import runtime.tracking.above
    import runtime.tracking.store  # noqa: F401

    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that serve
    listening = socket.socket(fileno=int(sys.argv[1]))
    while True:
        line, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            serve(line)
        line.close()


def serve(line: socket.socket) -> None:
    """Starts the recorder that is asked for, and says how it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    said, (connection, log), *_ = socket.recv_fds(line, 2**16, 2)
    with line.makefile("rb") as rest:
        asked = json.loads(said + rest.read())
    recording = os.fork()
    if recording == 0:
        line.close()
        os.setsid()
        for number in (1, 2):
            os.dup2(log, number)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        recorder.main(Connection(connection))
    os.close(connection)
    _, status = os.waitpid(recording, 0)
    with suppress(BrokenPipeError):  # of a stage that was killed, or does not wait
        line.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
    os._exit(0)


if __name__ == "__main__":
    main()
