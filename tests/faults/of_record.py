"""Faults of git, stores, servers and users in odd states; the last ones stop nothing."""

import socket
import time
from collections.abc import Callable

from tests.conftest import STORE
from tests.faults.fault import Fault, Place, removed, written

WRITE, PLAN = "python -m stages.write b", "python -m flows.pipeline --plan"
DELETED = (
    "Experiment taca was deleted in MLflow: `MLFLOW_TRACKING_URI=sqlite:///…mlflow.db mlflow experiments restore "
    "--experiment-id 1` brings it back, or call it otherwise in params.yaml (`experiment`)."
)
NO_STORE = (
    ", but must be the address of a server (http://HOST:PORT), of an SQLite file (sqlite:///mlflow.db) or of another "
    "database; correct it, or unset it to have mlflow.db here."
)


def deleted(place: Place) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(STORE.format(root=place.root))
    client.delete_experiment(client.create_experiment("taca"))


def live_elsewhere(place: Place) -> None:
    """A run of another container with this machine's name, whose process nobody here can see."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(STORE.format(root=place.root))
    tags = {"host": socket.gethostname(), "pid": "1", "pid.started": "1.0", "pid.space": "another"}
    client.create_run(client.create_experiment("taca"), 1, tags | {"heartbeat": str(time.time())}, "elsewhere")


def conflict(name: str) -> Callable[[Place], None]:
    """Leaves the mark of a merge in the third line of a file."""

    def arrange(place: Place) -> None:
        lines = (place.root / name).read_text().splitlines(keepends=True)
        place.write(name, "".join([*lines[:2], "<<<<<<< HEAD\n", *lines[2:]]))

    return arrange


def closed(*names: str) -> Callable[[Place], None]:
    """Takes the right to write from all, or from what these paths name."""

    def arrange(place: Place) -> None:
        for top in [place.root / name for name in names] or [place.root]:
            for path in (top, *top.rglob("*")):
                path.chmod(path.stat().st_mode & ~0o222)

    return arrange


FAULTS = [
    Fault("an experiment that was deleted in MLflow", WRITE, f"write@b: {DELETED}", deleted, place="toy", quick=True),
    Fault(
        "dvc repro with an experiment that was deleted",
        "dvc repro -q -s write@b",
        f"write@b: {DELETED}",
        deleted,
        place="toy",
        status=255,
    ),
    Fault(
        "a flow with an experiment that was deleted",
        "python -m flows.pipeline",
        DELETED,
        deleted,
        place="toy",
    ),
    *(
        Fault(
            f"the mark of a conflict in {name}",
            PLAN,
            f"…{name}: line 3 is the mark of a conflict…",
            conflict(name),
            place="toy",
            quick=True,
        )
        for name in ("dvc.lock", "dvc.yaml", "params.yaml")
    ),
    Fault(
        "the mark of a conflict in what a stage reads",
        WRITE,
        "write@b: …dvc.yaml: line 3 is the mark of a conflict…",
        conflict("dvc.yaml"),
        place="toy",
    ),
    *(
        Fault(
            f"{command.split('.')[-1]} with a broken .dvc/config.local",
            command,
            "…correct .dvc/config.local…",
            written(".dvc/config.local", "[cache\n"),
            place="toy",
            quick="gc" in command,
            among="doctor" in command,
        )
        for command in ("python -m flows.pipeline", "python -m flows.gc", "python -m flows.doctor")
    ),
    *(
        Fault(
            f"{command.split('.')[-1].split()[0]} in an archive without git",
            command,
            "…`git init && git add -A && git commit -m start` makes one…",
            removed(".git"),
            place="toy",
            quick=command == PLAN,
            among="doctor" in command,
        )
        for command in (PLAN, "python -m flows.gc", "python -m flows.doctor")
    ),
    *(
        Fault(
            f"MLFLOW_TRACKING_URI that is {what}",
            WRITE,
            f"write@b: MLFLOW_TRACKING_URI is {uri}{NO_STORE}",
            place="toy",
            quick="folder" not in what,
            environment={"MLFLOW_TRACKING_URI": uri},
        )
        for what, uri in {
            "without http://": "localhost:5000",
            "a folder": "./mlruns",
            "a folder's address": "file:///tmp/mlruns",
            "memory": "sqlite:///:memory:",
        }.items()
    ),
    Fault(
        "MLFLOW_TRACKING_URI in a folder that is not there",
        WRITE,
        "write@b: …nothing is no folder, so MLflow cannot have …nothing/mlflow.db: correct MLFLOW_TRACKING_URI.",
        place="toy",
        environment={"MLFLOW_TRACKING_URI": "sqlite:///nothing/mlflow.db"},
    ),
    *(
        Fault(
            f"{what} in a folder that cannot be written",
            command,
            "…`chmod…",
            closed(),
            place="toy",
            quick=True,
            nobody=True,
        )
        for what, command in {"a stage": WRITE, "a flow": "python -m flows.pipeline"}.items()
    ),
    Fault(
        "a store that cannot be written",
        WRITE,
        "write@b: …mlflow.db cannot be written by this user, and MLflow has its records there: `chmod u+w` or `chown`…",
        closed("mlflow.db"),
        place="toy",
        nobody=True,
    ),
    Fault(
        "make ui on a port that is taken",
        "python -m flows.ui --port {port}",
        "Port … is taken: stop what has it, or choose another (make ui PORT=...).",
        place="toy",
        quick=True,
    ),
    Fault(
        "make ui where MLflow does not answer",
        "python -m flows.ui",
        "MLflow at http://127.0.0.1:9 does not answer ([Errno …] Connection refused); start that server or correct …",
        place="toy",
        environment={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
    ),
    # What stops nothing: the stage ends well, and nothing is said of it.
    Fault(
        "a user whose number has no name",
        WRITE,
        "",
        place="toy",
        status=0,
        ends=("FINISHED",),
        nobody=True,
    ),
    Fault(
        "a live run of another machine with this one's name",
        WRITE,
        "",
        live_elsewhere,
        place="toy",
        status=0,
        ends=("RUNNING", "FINISHED"),
    ),
    Fault(
        "a stage in an archive without git",
        WRITE,
        "write@b: … is no git repository with a commit, such as a downloaded archive, so runs have none: `git init…",
        removed(".git"),
        place="toy",
        status=0,
        ends=("FINISHED",),
    ),
]
