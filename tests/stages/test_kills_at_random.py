"""SIGKILL at random moments of each stage program: the next execution ends with the same bytes and leaves nothing else.

The moments are drawn over the program's whole life, its start included, which is measured first. `KILL_SEED` in the
environment draws the same ones again.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from random import Random

import psutil
import pytest
from mlflow.tracking import MlflowClient

from runtime.execution.graph import read_stages
from runtime.execution.work import remove
from tests.small_copy import Copy

KILLS = 10
AT_ONCE = 2
# In the order in which one needs the other.
PROGRAMS = (
    "base",
    "prompts",
    "sample",
    "caption",
    "encode",
    "train taca-r16",
    "generate taca-r16",
    "score taca-r16",
    "analyze",
    "report",
)
TINY = {
    "base": {"threads": 1, "scenes": 16, "batch_size": 8, "width": 32, "layers": 2}
    | {"autoencoder_steps": 2, "transformer_steps": 2, "clip_steps": 2},
    "prompts": {"per_category": 2},
    "sample": {"size": 12},
    "encode": {"batch_size": 4},
    "train": {"steps": 4, "batch_size": 2, "held_out": 4, "checkpoint_every": 1},
    "generate": {"num_inference_steps": 2, "batch_size": 2},
    "score": {"batch_size": 2},
    "report": {"baseline": "taca-r16", "bootstrap": 50, "grid_prompts": 2},
}
# A lock names the process that held it.
UNSEEN = {".git", "mlartifacts", "__pycache__", "lock"}
STORE = "mlflow.db"  # and its journal, which comes and goes while the recorder of a killed program still writes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


class Program:
    """A stage program in a copy of the repository that holds all that it reads."""

    def __init__(self, copy: Copy, command: str):
        self.copy, self.arguments = copy, command.split()
        self.name = "@".join(self.arguments)
        self.outs = read_stages(copy.root)[self.name].outs

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", f"stages.{self.arguments[0]}", *self.arguments[1:]],
            cwd=self.copy.root,
            env=self.copy.environment() | {"TACA_TRAIN_BASE": "1", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> float:
        """Runs the program to its end; how long that took, in seconds."""
        started = time.monotonic()
        process = self.start()
        said = process.communicate()[1]
        assert process.returncode == 0, said
        return time.monotonic() - started

    def forget(self) -> None:
        """As before the stage ever ran; DVC, too, deletes outputs before it runs a stage."""
        for path in (self.copy.root / ".work", *(self.copy.root / out for out in self.outs)):
            remove(path)

    def found(self) -> dict[str, str]:
        """The hash of every file of the copy that is to be the same."""
        return dict(self._hashes(self.copy.root))

    def out_in_part(self, expected: dict[str, str]) -> list[str]:
        """Outputs that are neither whole nor absent."""
        found = self.found()
        return [out for out in self.outs if below(out, found) not in ({}, below(out, expected))]

    def statuses(self) -> list[str]:
        client = MlflowClient(f"sqlite:///{self.copy.root}/mlflow.db")
        runs = client.search_runs([client.get_experiment_by_name("taca").experiment_id])
        return [run.info.status for run in runs if run.info.run_name == self.name]

    def _hashes(self, root: Path) -> Iterator[tuple[str, str]]:
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if name not in UNSEEN]
            seen = [name for name in files if name not in UNSEEN and not name.startswith(STORE)]
            for path in (Path(folder, name) for name in seen):
                with path.open("rb") as file:
                    yield path.relative_to(root).as_posix(), file_digest(file, "md5").hexdigest()


def below(out: str, found: dict[str, str]) -> dict[str, str]:
    return {path: digest for path, digest in found.items() if f"{path}/".startswith(f"{out}/")}


def kill_at_random_moments(program: Program, life: float, expected: dict[str, str], moments: Random) -> list[str]:
    """Kills the program twice and lets it finish then, so that the second kill meets what the first has left.

    Returns what was wrong.
    """
    wrong, killed, finished = [], 0, 0
    while killed < KILLS:
        program.forget()
        where = []
        for _ in range(2):
            moment, alone = moments.uniform(0, life), moments.random() < 0.5
            where.append(f"{program.name} killed {'alone' if alone else 'with its recorder'} at {moment:.2f} s")
            lived = kill(program.start(), moment, alone)
            if lived is None:
                killed += 1
            else:  # it was faster than when its life was measured
                finished += 1
                life = lived if len(where) == 1 else life
            wrong += [f"{where}: {out} is there in part" for out in program.out_in_part(expected)]
        program.finish()
        finished += 1
        wrong += [f"{where}: {path} differs" for path in differing(expected, program.found())]
    return wrong + record_faults(program, finished)


def kill(process: subprocess.Popen, seconds: float, alone: bool) -> float | None:
    """Kills the program after so long, by itself or with its recorder; how long it lived if it has ended before."""
    started = time.monotonic()
    try:
        said = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(process.pid)
            for one in [family, *([] if alone else family.children(recursive=True))]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        process.communicate()
    else:
        assert process.returncode == 0, said
    return None if process.returncode == -signal.SIGKILL else time.monotonic() - started


def differing(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Files that are others than before, too many or too few."""
    return sorted(path for path in expected.keys() | found if expected.get(path) != found.get(path))


def record_faults(program: Program, finished: int) -> list[str]:
    """Once the recorders of killed programs have ended: what ended well is FINISHED, and all else KILLED."""
    deadline = time.monotonic() + 30
    while "RUNNING" in (statuses := program.statuses()) and time.monotonic() < deadline:
        time.sleep(0.2)
    if set(statuses) <= {"FINISHED", "KILLED"} and statuses.count("FINISHED") >= finished:
        return []
    return [f"{finished} executions of {program.name} ended well, but MLflow says {statuses}"]


@pytest.fixture(scope="module")
def seed() -> int:
    return int(os.environ.get("KILL_SEED", random.randrange(10**6)))


@pytest.fixture(scope="module")
def wrong(tmp_path_factory, seed) -> dict[str, Future]:
    """What was wrong with each program; each is killed as soon as there is what it reads."""
    source = tiny_copy(tmp_path_factory.mktemp("source") / "repository")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        killing = {}
        for command in PROGRAMS:
            made = Program(source, command)
            made.forget()
            life = made.finish()
            copy = copy_of(source, tmp_path_factory.mktemp("killed") / "repository")
            program = Program(copy, command)
            moments = Random(f"{seed} {command}")
            killing[command] = pool.submit(kill_at_random_moments, program, life, program.found(), moments)
        return killing


def tiny_copy(root: Path) -> Copy:
    copy = Copy(root)
    copy.edit(TINY)
    params = copy.params()
    params["arms"] = {"taca-r16": params["arms"]["taca-r16"]}
    params["adapters"] = {"taca-r16": params["adapters"]["taca-r16"]}
    copy.write({**params, "threads": 1})
    return copy


def copy_of(source: Copy, root: Path) -> Copy:
    """One that shares no file; MLflow's store knows where it lies, so a copy has to make its own."""
    copy = object.__new__(Copy)
    copy.root = Path(shutil.copytree(source.root, root, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts")))
    return copy


@pytest.mark.parametrize("command", PROGRAMS)
def test_kills_at_random_moments_leave_the_same_bytes_and_nothing_else(wrong, command, seed, capsys):
    """After each kill an output is whole or absent; runs that did not end well are KILLED in MLflow."""
    with capsys.disabled():
        print(f" KILL_SEED={seed}", end=" ")
    assert wrong[command].result() == []
