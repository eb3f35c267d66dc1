"""What machines of a sweep share, and the machines: servers, a repository, nodes with folders of their own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import sweep_toy
from local_servers import free_port

from flows.running.process import end_group
from flows.services.server import start_server
from tests.conftest import ROOT, Toy

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A busy machine needs longer than Ray's own minute.
    "RAY_raylet_start_wait_time_s": "240",
}
START = 240.0  # seconds


class Shared:
    """An S3 store, an MLflow server with a database of its own, a Prefect server: all that machines share but git."""

    def __init__(self, folder: Path):
        self.folder = folder
        s3, mlflow, prefect = free_port(), free_port(), free_port()
        self._groups: list[int] = []
        self._prefect = ExitStack()
        programs = [sys.executable, "-m"]
        self.start("s3", [*programs, "moto.server", "-H", "127.0.0.1", "-p", str(s3)], {})
        store = ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "runs")]
        serving = ["--host", "127.0.0.1", "--port", str(mlflow), "--workers", "1"]
        self.start(
            "mlflow",
            [*programs, "mlflow", "server", *serving, *store],
            {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
        self._prefect.enter_context(start_server(folder, prefect, folder / "prefect.txt"))
        self.env = {
            **KEYS,
            **QUIET,
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3}",
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
            "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
        }
        until(lambda: answers(f"http://127.0.0.1:{s3}/moto-api/"))
        until(lambda: answers(f"http://127.0.0.1:{mlflow}/health"))
        import boto3

        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=self.env["AWS_ENDPOINT_URL_S3"], **keys).create_bucket(Bucket="dvc")

    def start(self, name: str, command: list[str], env: dict[str, str], cwd: Path | None = None) -> subprocess.Popen:
        """Starts a program that `close` ends."""
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | QUIET | env,
                cwd=cwd or self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._groups.append(process.pid)
        return process

    def close(self) -> None:
        """Ends all of it."""
        self._prefect.close()
        for group in reversed(self._groups):
            end_group(group)


class Ray:
    """A cluster of two nodes with one place each, which share no folder."""

    def __init__(self, env: dict[str, str]):
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a socket's path may have 100 characters
        self.address = f"127.0.0.1:{free_port()}"
        self._env, self._nodes = env, {}
        port = self.address.rpartition(":")[2]
        self._start(
            "one", "--head", "--port", port, "--include-dashboard=false", "--temp-dir", str(self.folder / "tmp")
        )
        until(lambda: reachable(self.address))
        self._start("two", "--address", self.address)
        until(lambda: self._raylets() == 2)

    def home(self, name: str) -> Path:
        """The folder of a node."""
        return self.folder / name

    def kill(self, name: str) -> None:
        """Ends a node as a loss of power would: all its processes at once."""
        node = psutil.Process(self._nodes.pop(name).pid)
        processes = [node, *node.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)  # so that none sees another one go
        for process in {*processes, *node.children(recursive=True)}:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def close(self) -> None:
        """Ends both nodes."""
        for name in list(self._nodes):
            self.kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name: str, *arguments: str) -> None:
        self.home(name).mkdir()
        command = [Path(sys.executable).with_name("ray"), "start", "--block", "--num-cpus", "1", *arguments]
        command += ["--object-store-memory", "80000000", "--disable-usage-stats"]
        with (self.folder / f"{name}.log").open("w") as log:
            self._nodes[name] = subprocess.Popen(
                command,
                env=self._env | QUIET | {"TACA_WORKER_HOME": str(self.home(name))},
                cwd=self.home(name),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _raylets(self) -> int:
        nodes = [psutil.Process(node.pid) for node in self._nodes.values()]
        return sum(process.name() == "raylet" for node in nodes for process in node.children(recursive=True))


def make(toy: Toy, shared: Shared, bucket: str, **settings: str) -> Toy:
    """The sweep's toy repository with a DVC remote, an `origin`, and settings of its machine."""
    sweep_toy.make(toy)
    toy.env |= shared.env
    toy.env["PYTHONPATH"] = str(ROOT)
    (toy.root / "machine.yaml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    (toy.root / ".git" / "info" / "exclude").write_text("machine.yaml\n")
    run(toy, "dvc", "remote", "add", "--default", "storage", f"s3://dvc/{bucket}")
    sweep_toy.commit_all(toy)
    origin = toy.root.parent / "origin.git"
    run(toy, "git", "clone", "-q", "--bare", str(toy.root), str(origin))
    run(toy, "git", "remote", "add", "origin", str(origin))
    return toy


def run(toy: Toy, *command: str) -> str:
    """Runs a command, which must succeed; what it prints."""
    done = toy.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answers(page: str) -> bool:
    try:
        urllib.request.urlopen(page, timeout=5).close()
    except OSError:
        return False
    return True


def reachable(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError:
        return False
    return True


def until(condition, seconds: float = START) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
