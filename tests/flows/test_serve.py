"""`make serve`: servers, deployments and a worker that come up together and go together."""

import json
import shutil
import socket
import sys
import time
import urllib.request

import psutil
import pytest

from runtime.params import read_yaml
from tests.conftest import ROOT, kill_group

COMMAND = (sys.executable, "-m", "flows.serve")


def free_ports(number):
    """Ports that are free together."""
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Served:
    """The toy repository with services of its own."""

    def __init__(self, toy):
        self.toy = toy
        self.ports = free_ports(2)
        self.url = f"http://127.0.0.1:{self.ports[1]}/api"
        shutil.copytree(ROOT / "flows", toy.root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("prefect.yaml", "requirements.lock"):
            shutil.copy(ROOT / name, toy.root)
        self.arguments = ("--port", self.ports[0], "--prefect-port", self.ports[1])
        self.process = None

    def start(self, **env):
        """Starts the services and waits until all are there."""
        said = self.said().count("Ctrl-C")
        self.process = self.toy.start(*COMMAND, *self.arguments, **env)
        self.toy.until(lambda: self.said().count("Ctrl-C") > said or self.process.poll() is not None, seconds=250)
        assert self.process.poll() is None, self.said()

    def said(self):
        log = self.toy.root / "started.log"
        return log.read_text() if log.exists() else ""

    def ask(self, path, body=None):
        """What the Prefect server answers to a query."""
        request = urllib.request.Request(f"{self.url}/{path}", json.dumps(body or {}).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def flow_states(self):
        return [run["state_type"] for run in self.ask("flow_runs/filter", {"sort": "START_TIME_ASC"})]

    def prefect(self, *arguments):
        """Runs a command of Prefect against this server."""
        done = self.toy.run(sys.executable, "-m", "prefect", *arguments, PREFECT_API_URL=self.url)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def stop(self):
        """Sends SIGTERM; the seconds until everything is gone."""
        members = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        started = time.monotonic()
        self.process.terminate()
        self.process.wait(timeout=60)
        _, alive = psutil.wait_procs(members, timeout=10)
        assert alive == []
        return time.monotonic() - started


@pytest.fixture
def served(toy):
    services = Served(toy)
    yield services
    if services.process and services.process.poll() is None:
        services.stop()


@pytest.mark.slow
@pytest.mark.timeout(800)
def test_services_come_run_a_deployment_and_go(served):
    """Schedules are inactive until switched on, and then survive a restart; a stop in the middle of a flow is told.

    A deployed flow works on branch main, beside the checkout, whose code is half edited meanwhile.
    """
    served.toy.run("git", "branch", "-M", "main")
    served.start(TOY_SECONDS="0.3")
    again = served.toy.run(*COMMAND, *served.arguments)
    assert again.returncode == 1
    assert again.stderr == f"`make serve` runs already in {served.toy.root}: use that one, or stop it first.\n"
    deployments = {found["name"]: found for found in served.ask("deployments/filter")}
    for deployment in deployments.values():
        assert [schedule["active"] for schedule in deployment["schedules"]] == [False]
        assert deployment["global_concurrency_limit"]["limit"] == 1
    assert [found["concurrency_limit"] for found in served.ask("work_pools/filter")] == [1]
    assert [found["name"] for found in served.ask("automations/filter")] == ["crash flow runs without heartbeat"]
    with urllib.request.urlopen(f"http://127.0.0.1:{served.ports[0]}/health") as answer:
        assert answer.status == 200

    pages = f"http://127.0.0.1:{served.ports[0]}"
    found = served.toy.run(sys.executable, "-m", "flows.doctor", PREFECT_API_URL=served.url, MLFLOW_TRACKING_URI=pages)
    assert f"ok     Prefect          {served.url} answers\n" in found.stdout
    assert f"ok     MLflow           {pages} answers\n" in found.stdout

    code = served.toy.root / "stages" / "write.py"
    text = code.read_text()
    code.write_text("half edited (\n")
    served.prefect("deployment", "run", "pipeline/nightly", "--param", 'overrides={"train.seed": 8}', "--watch")
    code.write_text(text)
    assert served.flow_states() == ["COMPLETED"]
    (flow,) = served.ask("flow_runs/filter")
    assert flow["tags"] == ["pipeline"]
    assert not (served.toy.root / "out").exists()
    assert "pipeline-" in served.toy.run("dvc", "exp", "list").stdout
    assert {run.data.tags["git.dirty"] for run in served.toy.runs()} == {"false"}
    (table,) = [found["data"] for found in served.ask("artifacts/filter") if found["key"] == "stages"]
    assert f"{pages}/#/experiments/" in table
    assert {run.info.run_name for run in served.toy.runs()} >= {"pipeline", "write@a", "write@b", "join"}

    (schedule,) = deployments["nightly"]["schedules"]
    served.prefect("deployment", "schedule", "resume", "pipeline/nightly", schedule["id"])
    shutil.rmtree(served.toy.root / ".dvc" / "cache")
    made = len(served.toy.made())
    served.prefect("deployment", "run", "pipeline/nightly", "--param", "branch=null")
    served.toy.until(lambda: len(served.toy.made()) > made, seconds=400)
    assert served.stop() < 25
    assert list((served.toy.root / ".work").glob("serve/*")) == []
    assert list((served.toy.root / ".work").glob("groups/*")) == []
    assert {run.info.status for run in served.toy.runs()} == {"FINISHED", "KILLED"}

    served.start()
    assert served.flow_states()[:2] == ["COMPLETED", "CRASHED"]
    active = {found["name"]: found["schedules"][0]["active"] for found in served.ask("deployments/filter")}
    assert [name for name in active if active[name]] == ["nightly"]
    assert served.stop() < 25


@pytest.mark.slow
def test_services_that_a_kill_has_left_are_ended_by_the_next_start(served):
    served.start()
    left = psutil.Process(served.process.pid).children(recursive=True)
    kill_group(served.process)
    assert any(process.is_running() for process in left)
    served.start()
    assert "Ended the worker of a `make serve` that was killed." in served.said()
    _, alive = psutil.wait_procs(left, timeout=10)
    assert alive == []
    assert served.stop() < 25


@pytest.mark.slow
def test_faulty_deployment_is_one_sentence_and_leaves_nothing(served):
    text = (served.toy.root / "prefect.yaml").read_text()
    (served.toy.root / "prefect.yaml").write_text(
        text.replace("flows/running/flow.py:pipeline", "flows/running/flow.py:nothing")
    )
    done = served.toy.run(*COMMAND, *served.arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("`prefect deploy --all` failed; correct prefect.yaml: ")
    assert done.stderr.count("\n") == 1
    for port in served.ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", int(port)))


def test_every_sweep_has_a_deployment():
    deployments = read_yaml(ROOT / "prefect.yaml")["deployments"]
    sweeps = {found["parameters"]["name"] for found in deployments if found["entrypoint"].endswith(":sweep")}
    assert sweeps == {path.stem for path in (ROOT / "experiments" / "sweeps").glob("*.yaml")}


@pytest.mark.long
def test_taken_port_is_one_sentence(toy):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = toy.run(*COMMAND, "--port", port, "--prefect-port", *free_ports(1))
    assert done.returncode == 1
    assert done.stderr.startswith(f"Port {port} is taken: stop what has it, or choose another (")
    assert done.stderr.count("\n") == 1


@pytest.mark.long
def test_second_prefect_server_is_refused(toy):
    done = toy.run(*COMMAND, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 1
    assert done.stderr == "PREFECT_API_URL names a Prefect server already: unset it to have one here.\n"
