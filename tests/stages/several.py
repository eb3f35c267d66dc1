"""Runs stages one after the other in this process, which loads torch once: `python -m tests.stages.several STAGE...`.

A stage with a key is written with a colon, as in `train:taca-r16`. The published scorers are loaded in the sizes of
`tiny_published`; where no stage scores, nothing is loaded before the first one, which may lift the offline mode. The
processes that record the stages come from one that has imported MLflow, which is most of what they take.
"""

import multiprocessing
import os
import runpy
import sys
from multiprocessing.connection import Connection
from types import SimpleNamespace

import pytest

from runtime.tracking import client, recorder

FORKS = multiprocessing.get_context("forkserver")


class Forked:
    """A recorder's process, as `subprocess.Popen` starts one; what it prints comes out here."""

    def __init__(self, command: list[str], **_: object):
        connection = Connection(os.dup(int(command[-1])))
        self._process = FORKS.Process(target=recorder.main, args=(connection,))
        self._process.start()
        connection.close()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join()
        return self._process.exitcode

    returncode = property(poll)


def main() -> None:
    os.environ.update(recorder.QUIET)
    FORKS.set_forkserver_preload(["pytest", "runtime.tracking.above", "runtime.tracking.store"])
    patch = pytest.MonkeyPatch()
    patch.setattr(client, "subprocess", SimpleNamespace(Popen=Forked, DEVNULL=None))
    if any(argument.startswith("score:") for argument in sys.argv):
        from tests.compbench.command.tiny_published import shrink

        shrink(patch)
    for argument in sys.argv[1:]:
        stage, *key = argument.split(":")
        sys.argv = [stage, *key]
        runpy.run_module(f"stages.{stage}", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
