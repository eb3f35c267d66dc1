"""A small DVC repository whose toy stages run through the real `runtime.execution.stage`."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from configobj import ConfigObj

from tests import recorders

ROOT = Path(__file__).parent.parent
TOY = Path(__file__).parent / "toy"
STORE = "sqlite:///{root}/mlflow.db"

gc.disable()  # what is imported for the tests stays; looking through it again and again takes a fifth of that time

if "PYTEST_XDIST_WORKER" in os.environ:  # one of as many processes as there are cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # before tests are left out, so that the order is the same without them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the files, those with long tests come first: the last one is then short."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        marks = ("first", "slow")
        files = {mark: {item.path for item in items if item.get_closest_marker(mark)} for mark in marks}
        items.sort(key=lambda item: [item.path not in files[mark] for mark in marks])


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


class Toy:
    """The repository and the commands to run in it."""

    def __init__(self, root: Path):
        self.root = root
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC_", "TACA_"))}
        self.env |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DVC_NO_ANALYTICS": "1",
            "SHELL": "/bin/sh",
        }

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess:
        """Runs a command to its end."""
        return subprocess.run(command, cwd=self.root, env=self.env | env, capture_output=True, text=True)

    def repro(self, *arguments: str, **env: str) -> subprocess.CompletedProcess:
        """Runs `dvc repro`, which must succeed."""
        done = self.run("dvc", "repro", "-q", *arguments, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def configure(self, key: str, value: str, file: str = "config") -> None:
        """As `dvc config` does it in a process of its own, which takes a second."""
        section, name = key.split(".")
        config = ConfigObj(str(self.root / ".dvc" / file))
        config.setdefault(section, {})[name] = value
        config.write()

    def start(self, *command: str, **env: str) -> subprocess.Popen:
        """Starts a command in a process group of its own."""
        log = (self.root / "started.log").open("a")
        return subprocess.Popen(
            command, cwd=self.root, env=self.env | env, stdout=log, stderr=log, start_new_session=True
        )

    def bring_code(self) -> None:
        """Makes it a checkout with the code of its own, as whoever clones it has."""
        for package in ("flows", "lab", "runtime", "compbench", "taca"):
            shutil.copytree(ROOT / package, self.root / package, ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "tests").mkdir()
        shutil.copy2(ROOT / "tests" / "recorders.py", self.root / "tests")  # which its stages use

    def made(self) -> list[str]:
        """One line for each piece of work that the toy stages did: process id, stage, piece."""
        log = self.root / "made.log"
        return log.read_text().splitlines() if log.exists() else []

    def runs(self) -> list:
        """The MLflow runs of stages and flows, oldest first."""
        return [run for run in self.all_runs() if "dvc.process" not in run.data.tags]

    def repros(self) -> list:
        """The MLflow runs that stand above those of a `dvc repro`, oldest first."""
        return [run for run in self.all_runs() if "dvc.process" in run.data.tags]

    def all_runs(self) -> list:
        """All MLflow runs, oldest first."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(STORE.format(root=self.root))
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return client.search_runs(experiments, order_by=["start_time ASC"])

    def ended_runs(self, number: int) -> list:
        """All runs, once there are `number` and all have ended; a recorder may outlive the stage that failed."""
        self.until(lambda: [run.info.status != "RUNNING" for run in self.runs()] == [True] * number)
        return self.runs()

    def until(self, condition: Callable[[], bool], seconds: float = 100) -> None:
        """Waits for `condition`."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def warm_recorders() -> Iterator[None]:
    """Toy stages are recorded by processes that need not import MLflow anew."""
    with recorders.serving() as path, pytest.MonkeyPatch.context() as patch:
        patch.setenv(recorders.PLACE, path)
        yield


@pytest.fixture(scope="session")
def toy_template(tmp_path_factory: pytest.TempPathFactory, warm_recorders: None) -> Path:
    """The repository with stage `check` done, committed, and an empty MLflow store (making one takes a second)."""
    toy, elsewhere = Toy(tmp_path_factory.mktemp("toy")), tmp_path_factory.mktemp("store")
    shutil.copytree(TOY, toy.root, dirs_exist_ok=True)
    # Under its own name DVC would take it for a part of the surrounding repository.
    (toy.root / "pipeline.yaml").rename(toy.root / "dvc.yaml")
    shutil.copy(ROOT / "experiments" / "defaults.yaml", toy.root / "params.yaml")
    shutil.copy(ROOT / "stages" / "check.py", toy.root / "stages" / "check.py")
    shutil.copy(ROOT / ".dvcignore", toy.root / ".dvcignore")
    (toy.root / ".gitignore").write_text(".work/\nmlflow.db*\nmlartifacts/\n*.log\n/data\n/out\n__pycache__/\n")
    assert toy.runs() == []
    # The run of `check` goes elsewhere: an experiment knows its artifacts' place, so each copy has to make its own.
    shutil.copy(toy.root / "mlflow.db", elsewhere / "mlflow.db")
    for command in (
        "git init -q",
        "dvc init -q",
        "dvc repro -q check",
        "git add -A",
        "git -c user.name=toy -c user.email=toy@localhost commit -qm toy",
    ):
        done = toy.run(*command.split(), MLFLOW_TRACKING_URI=STORE.format(root=elsewhere))
        assert done.returncode == 0, done.stderr
    shutil.rmtree(toy.root / ".work")
    return toy.root


@pytest.fixture
def toy(toy_template: Path, tmp_path: Path) -> Toy:
    """A fresh copy of the repository."""
    return Toy(shutil.copytree(toy_template, tmp_path / "repository"))


def kill_group(process: subprocess.Popen) -> None:
    """SIGKILL to a whole process group, as a machine that goes down would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
