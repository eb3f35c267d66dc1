"""The services of infra/compose.yaml without containers: the same commands and variables, on free ports.

moto's server stands for the S3 store, and PostgreSQL is the one that is installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from local_servers import free_port

from flows.running.process import end_group
from tests.infra.settings import INFRA, compose, filled, fresh_secrets

START = 120.0  # seconds
# What initdb refuses to run as root may run as nobody.
UNPRIVILEGED = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's programs: the newest of Debian's, or that on the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which("postgres")
    return Path(found).resolve().parent if found else None


class Postgres:
    """A server with a password and the databases of databases.sql; it listens on a socket in `folder`."""

    def __init__(self, folder: Path, password: str):
        self._programs = postgres_programs()
        self.data = folder / "postgres"
        self.env = {
            **os.environ,
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "PGHOST": str(self.data),
            "PGUSER": "taca",
            "PGPASSWORD": password,
        }
        self._folder = folder

    def start(self) -> None:
        """Makes it and starts it."""
        self.data.mkdir()
        if UNPRIVILEGED:
            shutil.chown(self.data, UNPRIVILEGED["user"], UNPRIVILEGED["group"])
        secret = self._folder / "password"
        secret.write_text(self.env["PGPASSWORD"])
        self._control("initdb", "--username=taca", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync")
        secret.unlink()
        self._control("pg_ctl", "start", "--wait", f"--log={self.data}/log", f"--options=-h '' -k {self.data}")
        self.run("psql", "--quiet", "--dbname=postgres", f"--file={INFRA}/databases.sql")

    def run(self, *command: str | Path, **env: str) -> str:
        """Runs a client, which must succeed; what it prints."""
        return subprocess.run(command, env=self.env | env, check=True, capture_output=True, text=True).stdout.strip()

    def query(self, database: str, text: str) -> str:
        """Rows as psql prints them."""
        return self.run(
            "psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--dbname={database}", f"--command={text}"
        )

    def stop(self) -> None:
        """Stops it, where it runs."""
        if (self.data / "postmaster.pid").exists():
            self._control("pg_ctl", "stop", "--mode=fast", "--wait")

    def _control(self, program: str, *arguments: str) -> None:
        command = [self._programs / program, *arguments, f"--pgdata={self.data}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **UNPRIVILEGED)


class Services:
    """All of them, and what a client of theirs needs in its environment."""

    def __init__(self):
        # Not below pytest's folder, which is root's alone; and a socket's path may have 100 characters at most.
        self.folder = Path(tempfile.mkdtemp(prefix="taca-services-"))
        self.folder.chmod(0o755)
        self.secrets = fresh_secrets(self.folder)
        self._ports = {name: free_port() for name in ("s3", "mlflow", "prefect", "worker")}
        self._running: dict[str, subprocess.Popen] = {}
        self.postgres = Postgres(self.folder, self.secrets["POSTGRES_PASSWORD"])

    def open(self) -> None:
        """Starts all but the worker; they answer when this returns."""
        self.postgres.start()
        self._started(
            "s3",
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._ports["s3"])],
            dict(os.environ),
        )
        self.until_up("s3")
        command, env = self.settings("buckets")
        subprocess.run(command, env=env, check=True)
        self.start("mlflow")
        self.start("prefect")
        self.until_up("mlflow")
        self.until_up("prefect")

    def settings(self, name: str, **replaced: str) -> tuple[list[str], dict[str, str]]:
        """Command and environment of a service of the Compose file, with this machine's places."""
        service = filled(compose()["services"][name], self.secrets)
        places = {f"localhost:{port}": f"127.0.0.1:{self._ports[name]}" for name, port in self._published().items()}
        places |= {f"port={port}": f"port={self._ports[name]}" for name, port in self._published().items()}
        places |= {"http://s3:8333": self.url("s3"), "0.0.0.0": "127.0.0.1", "/infra/": f"{INFRA}/"}
        places |= {"/repository": "", "4201": str(self._ports["worker"])} | replaced

        def placed(text: str) -> str:
            for here, there in places.items():
                text = text.replace(here, there)
            return text

        own = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DO_NOT_TRACK": "1",
            "HOME": str(self.folder),
        }
        env = {key: placed(value) for key, value in service["environment"].items()} | own
        if "PGHOST" in env:
            env["PGHOST"] = str(self.postgres.data)
        return [placed(part) for part in service["command"]], env

    def url(self, name: str) -> str:
        """The address of a service."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def client(self) -> dict[str, str]:
        """What the worker's environment says of the servers: what any client's has to say."""
        _, env = self.settings("worker")
        return {key: value for key, value in env.items() if key.startswith(("AWS_", "MLFLOW_", "PREFECT_API_"))}

    def start(self, name: str, cwd: Path | None = None, **replaced: str) -> None:
        """Starts a service of the Compose file."""
        self._started(name, *self.settings(name, **replaced), cwd)

    def stop(self, name: str) -> None:
        """Ends a service and all its processes."""
        process = self._running.pop(name)
        end_group(process.pid)
        process.wait()

    def until_up(self, name: str) -> None:
        """Waits until its health check passes."""
        path = {"s3": "/moto-api/", "mlflow": "/health", "prefect": "/api/health", "worker": "/health"}[name]
        deadline = time.monotonic() + START
        while not _answers(self.url(name) + path):
            assert self._running[name].poll() is None, self.log(name)
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(0.1)

    def log(self, name: str) -> str:
        """What a service has printed."""
        return (self.folder / f"{name}.log").read_text()

    def close(self) -> None:
        """Ends everything and leaves nothing."""
        for name in list(self._running):
            self.stop(name)
        self.postgres.stop()
        shutil.rmtree(self.folder)

    def _started(self, name: str, command: list[str], env: dict[str, str], cwd: Path | None = None) -> None:
        with (self.folder / f"{name}.log").open("a") as log:
            self._running[name] = subprocess.Popen(
                command, env=env, cwd=cwd or self.folder, stdout=log, stderr=log, start_new_session=True
            )

    def _published(self) -> dict[str, str]:
        """The port that each service of the Compose file publishes."""
        services = compose()["services"].items()
        return {name: service["ports"][0].rpartition(":")[2] for name, service in services if "ports" in service}


def _answers(page: str) -> bool:
    try:
        urllib.request.urlopen(page, timeout=5).close()
    except OSError:
        return False
    return True
