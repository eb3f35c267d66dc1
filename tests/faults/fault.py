"""A fault that users meet: how it comes about, the command that meets it, and the one sentence that they read."""

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path

import yaml

from runtime.execution.work import remove
from tests import recorders
from tests.conftest import Toy

# What DVC adds of its own where a stage ends with a fault.
OF_DVC = re.compile(r"ERROR: failed to reproduce '[^']+': failed to run: .*, exited with \d+|")
# In a user namespace, where the owner of the files is such a number, and no root who may everything.
NOBODY = ("unshare", "--user", "--map-user=54321", "--map-group=54321")
# And where its recorder comes from, which is to be that user's too.
NAMES = ("USER", "LOGNAME", "LNAME", "USERNAME", recorders.PLACE)


class Place(Toy):
    """A repository of its own that a fault is made in."""

    def edit(self, changes: Mapping[str, object]) -> None:
        """Changes values of params.yaml by dotted keys."""
        params = yaml.safe_load((self.root / "params.yaml").read_text())
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = params
            for parent in parents:
                section = section[parent]
            section[last] = value
        self.write("params.yaml", yaml.safe_dump(params, sort_keys=False, allow_unicode=True))

    def write(self, path: str, content: str | bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # it may be a link that another repository shares
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new, 1))

    def execute(self, fault: "Fault") -> subprocess.CompletedProcess:
        """Runs the command of a fault, in which `{port}` stands for a port that is taken."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            first, *others = shlex.split(fault.command.replace("{port}", str(taken.getsockname()[1])))
            command = [sys.executable if first == "python" else first, *others]
            if fault.nobody:
                command = [*NOBODY, *command]
                self.env = {key: value for key, value in self.env.items() if key not in NAMES}
            return self.run(*command, **fault.environment)


@dataclass(frozen=True)
class Fault:
    """One row of the table, and one test.

    Attributes:
        name: what is wrong; the test's id.
        command: what is typed.
        said: the line that is printed; `…` stands for what is different from case to case, such as a path.
        arrange: makes the fault.
        recorded: whether MLflow has a FAILED run with the reason afterwards; else it has none.
        place: the fixture with the repository: "toy", "clone" (the real stages), "sweep".
        among: whether the line is one of several that are right, as in a list.
        changes: files that are others afterwards all the same.
        unreadable: whether the fault is that MLflow's store cannot be looked at.
        ends: how all runs of the store have ended then, where it is no fault that ends the command.
        nobody: whether the command's user has no name, and no rights but those that files give.
        quick: whether it is a test of the fast suite.
    """

    name: str
    command: str
    said: str
    arrange: Callable[[Place], None] = lambda place: None
    recorded: bool = False
    place: str = "clone"
    environment: Mapping[str, str] = field(default_factory=dict)
    status: int = 1
    among: bool = False
    changes: tuple[str, ...] = ()
    unreadable: bool = False
    ends: tuple[str, ...] = ()
    nobody: bool = False
    quick: bool = False

    @property
    def typed(self) -> str:
        """The command as the table shows it."""
        return self.command.replace("{port}", "5000")

    @property
    def pattern(self) -> re.Pattern:
        """What the whole line must match."""
        return re.compile(".*".join(map(re.escape, self.said.split("…"))))


def edited(changes: Mapping[str, object]) -> Callable[[Place], None]:
    return lambda place: place.edit(changes)


def written(path: str, content: str | bytes) -> Callable[[Place], None]:
    return lambda place: place.write(path, content)


def removed(path: str) -> Callable[[Place], None]:
    return lambda place: remove(place.root / path)


def both(*steps: Callable[[Place], None]) -> Callable[[Place], None]:
    def arrange(place: Place) -> None:
        for step in steps:
            step(place)

    return arrange


def cut(path: str, size: int = 100) -> Callable[[Place], None]:
    """Leaves the first bytes of a file."""
    return lambda place: place.write(path, (place.root / path).read_bytes()[:size])


def files(root: Path) -> dict[str, bytes]:
    """All files that a fault must leave as they are."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [
            name for name in folders if name not in (".git", ".work", "mlartifacts", "__pycache__", ".prefect")
        ]
        for path in (
            Path(folder, name) for name in names if not name.startswith("mlflow.db") and not name.endswith(".log")
        ):
            relative = path.relative_to(root).as_posix()
            if not relative.startswith((".dvc/tmp", ".dvc/cache")):
                found[relative] = md5(path.read_bytes()).digest()
    return found
