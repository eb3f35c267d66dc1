"""The process that `flows.running.forks` starts: it imports DVC once, and forks itself for every command.

It has no threads, so that a fork is a whole copy, and ends when the flow that started it does.
"""

import json
import os
import selectors
import socket
import struct
import sys
from contextlib import suppress

LOOK = 0.02  # seconds between looks for commands that have ended
# What a command of the pipeline imports beyond `dvc.cli`.
MODULES = ("dvc.cli.parser", "dvc.repo.open_repo", "dvc.repo.reproduce", "dvc.repo.status", "dvc.utils.strictyaml")


def main() -> None:
    """Serves until the other end of the socket in the first argument is closed."""
    flow = socket.socket(fileno=int(sys.argv[1]))
    for module in MODULES:
        __import__(module)
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(flow, selectors.EVENT_READ)
        while True:
            if selector.select(LOOK if running else None):
                request = _receive(flow)
                if request is None:
                    return
                pid, reply = _start(*request)
                running[pid] = reply
            _report(running)


def _receive(flow: socket.socket) -> tuple[dict, int, socket.socket] | None:
    """The next request, with where its output and its replies go; None at the end."""
    header, descriptors, _, _ = socket.recv_fds(flow, 4, 2)
    if not header:
        return None
    left, parts = struct.unpack("!I", header)[0], []
    while left:
        parts.append(flow.recv(left))
        left -= len(parts[-1])
    return json.loads(b"".join(parts)), descriptors[0], socket.socket(fileno=descriptors[1])


def _start(request: dict, output: int, reply: socket.socket) -> tuple[int, socket.socket]:
    pid = os.fork()
    if pid == 0:
        _become(request, output)
    with suppress(OSError):  # both do it, so that the group is there whoever comes first
        os.setpgid(pid, pid)
    os.close(output)
    _say(reply, pid)
    return pid, reply


def _become(request: dict, output: int) -> None:
    """Is the command from here on."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        sys.argv = ["dvc", *request["arguments"]]
        from dvc.cli import main as dvc

        code = dvc(request["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _report(running: dict[int, socket.socket]) -> None:
    """Says of every command that has ended how it did: its status, negative for the signal that ended it."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as reply:
            _say(reply, os.waitstatus_to_exitcode(status))


def _say(reply: socket.socket, number: int) -> None:
    with suppress(BrokenPipeError):  # nobody waits any more
        reply.sendall(f"{number}\n".encode())


if __name__ == "__main__":
    main()
