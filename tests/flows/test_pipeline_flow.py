"""The pipeline's flow on the toy repository, with a real Prefect server and real stages."""

import hashlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from local_servers import prefect_server

from flows.running.graph import changed
from runtime.execution.graph import read_recorded
from runtime.params import read_yaml
from tests.conftest import ROOT, Toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One Prefect server for all tests of this file: its address and its database."""
    root = tmp_path_factory.mktemp("prefect")
    with prefect_server(root) as url:
        yield url, root / ".prefect" / "prefect.db"


class Flow:
    """The toy repository with a Prefect server."""

    def __init__(self, toy: Toy, url: str, database):
        self.toy, self.database = toy, database
        self.env = {"PREFECT_API_URL": url}

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess:
        return self.toy.run(sys.executable, "-m", "flows.pipeline", *arguments, **self.env, **env)

    def start(self, **env: str) -> subprocess.Popen:
        return self.toy.start(sys.executable, "-m", "flows.pipeline", **self.env, **env)

    def states(self) -> dict[str, str]:
        """The newest state of every task of the newest flow run, and of the flow."""
        with sqlite3.connect(self.database) as connection:
            flow_id, name = connection.execute("select id, state_name from flow_run order by created desc").fetchone()
            tasks = connection.execute("select name, state_name from task_run where flow_run_id = ?", (flow_id,))
            return {**dict(tasks.fetchall()), "flow": name}

    def name(self) -> str:
        """Of the newest flow run."""
        with sqlite3.connect(self.database) as connection:
            return connection.execute("select name from flow_run order by created desc").fetchone()[0]

    def artifacts(self) -> dict[str, str]:
        with sqlite3.connect(self.database) as connection:
            return dict(connection.execute("select key, data from artifact order by created").fetchall())


@pytest.fixture
def flow(toy, server):
    return Flow(toy, *server)


def test_stages_run_once_and_are_cached_after(flow):
    """One MLflow run above those of the stages; the second flow links to the runs that made the outputs."""
    done = flow.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "> python -m stages.write a" in done.stdout + done.stderr
    assert flow.states() == {
        "check": "Cached",
        "write@a": "Completed",
        "write@b": "Completed",
        "join": "Completed",
        "flow": "Completed",
    }
    assert (flow.toy.root / "out" / "joined.txt").exists()
    runs = {run.info.run_name: run for run in flow.toy.ended_runs(4)}
    parent = runs.pop("pipeline")
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert set(runs) == {"write@a", "write@b", "join"}
    seconds = [run.data.metrics["cost/device_seconds"] for run in runs.values()]
    assert parent.data.metrics["cost/device_seconds"] == pytest.approx(sum(seconds))

    assert flow.run("join").returncode == 0
    assert set(flow.states().values()) == {"Cached", "Completed"}
    assert flow.name() == "pipeline join"
    newest = flow.toy.ended_runs(5)[-1]
    assert newest.data.tags["stage.join"] == "cached"
    assert newest.data.tags["stage.join.run_id"] == runs["join"].info.run_id
    assert newest.data.metrics["cost/device_seconds"] == 0
    assert runs["write@a"].info.run_id in flow.artifacts()["stages"]

    for command in ("git checkout -q dvc.lock", "rm -rf out"):
        flow.toy.run(*command.split())
    assert flow.run("write@b").returncode == 0
    assert flow.states() == {"check": "Cached", "write@b": "Restored", "flow": "Completed"}


def test_the_lock_file_says_what_that_of_dvc_repro_says(flow):
    """New stages are appended as they end, so their order may differ; those that the file had stay in place."""
    flow.toy.repro()
    expected = (flow.toy.root / "dvc.lock").read_text()
    for commands in ("git checkout -q dvc.lock", "rm -rf out .dvc/cache/runs"):
        flow.toy.run(*commands.split())
    assert flow.run().returncode == 0
    lock = flow.toy.root / "dvc.lock"
    assert read_yaml(lock) == read_yaml_text(expected, flow.toy.root)
    lock.write_text(expected)
    flow.toy.run("rm", "-rf", "out", ".dvc/cache")
    assert flow.run().returncode == 0
    assert lock.read_text() == expected


def read_yaml_text(text, folder):
    (folder / "expected.log").write_text(text)
    return read_yaml(folder / "expected.log")


def test_the_plan_says_what_would_run_and_why_and_runs_nothing(flow):
    assert flow.run().returncode == 0
    before = len(flow.toy.runs())
    (flow.toy.root / "stages" / "write.py").open("a").write("# changed\n")
    done = flow.run("--plan")
    assert re.search(r"write@a +runs +deps stages/write.py: modified", done.stdout)
    assert re.search(r"join +may run +if the outputs of write@a, write@b change", done.stdout)
    assert "2 run, 1 may run, 1 are up to date." in done.stdout
    assert len(flow.toy.runs()) == before


def test_the_plan_of_one_arm_names_the_stages_of_that_arm(flow):
    """Stage `check` reads all of params.yaml and everything needs it, but what it writes is always the same."""
    assert flow.run().returncode == 0
    params = flow.toy.root / "params.yaml"
    params.write_text(params.read_text().replace("taca-free: {gamma: 1.2", "taca-free: {gamma: 1.3"))
    done = flow.run("--plan")
    assert re.search(r"check +runs +deps params.yaml: arms", done.stdout)
    assert "1 run, 0 may run, 3 are up to date." in done.stdout
    params.write_text(params.read_text().replace("seed: 3", "seed: 4"))
    done = flow.run("--plan")
    assert re.search(r"write@a +runs +deps params.yaml: train.seed", done.stdout)
    assert re.search(r"join +may run +if the outputs of write@a, write@b change", done.stdout)


def test_the_plan_of_some_stages_looks_at_no_others(flow):
    """At full size each arm has tens of thousands of files."""
    assert flow.run().returncode == 0
    shutil.rmtree(flow.toy.root / "out" / "b")
    done = flow.run("--plan", "write@a")
    assert done.stdout.endswith("0 run, 0 may run, 2 are up to date.\n")
    assert changed(flow.toy.root, ["write@a"]) == {}
    assert set(changed(flow.toy.root)) == {"write@b", "join"}


def test_what_check_writes_is_always_the_same(toy):
    """With the toy's parameters as with those that the repository has recorded."""
    written = hashlib.md5((toy.root / "data" / "params-checked.txt").read_bytes()).hexdigest()
    assert written == read_recorded(ROOT)["check"][1]["data/params-checked.txt"]


def test_a_failed_stage_stops_only_what_needs_it(flow):
    script = flow.toy.root / "stages" / "write.py"
    script.write_text(
        script.read_text().replace("for piece in range", "if run.key == 'b': 1 / 0\n        for piece in range")
    )
    done = flow.run()
    assert done.returncode == 1
    assert "join, write@b failed or could not run" in done.stderr or "write@b, join failed" in done.stderr
    states = flow.states()
    assert (states["write@a"], states["write@b"], states["join"]) == ("Completed", "Failed", "NotReady")
    assert states["flow"] == "Failed"
    assert {run.info.run_name: run.info.status for run in flow.toy.ended_runs(3)}["pipeline"] == "FAILED"


def test_what_passes_is_tried_again_and_what_does_not_is_not(flow):
    """A stage that finds its server only at the second attempt; one whose loss is nan."""
    (flow.toy.root / "machine.yaml").write_text("retry_seconds: 0.1\n")
    script = flow.toy.root / "stages" / "join.py"
    flaky = """(run.work / 'tries').open('a').write('x')
        if (run.work / 'tries').stat().st_size < 3: raise ConnectionError('the hub does not answer.')
        run.log_artifact("""
    script.write_text(script.read_text().replace("run.log_artifact(", flaky))
    done = flow.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"the hub does not answer\..* - Retry ./3 will start 0\.", done.stdout + done.stderr)) == 2
    assert flow.states()["join"] == "Completed"
    assert '"attempts": "3"' in flow.artifacts()["stages"].replace("\\", "")

    (flow.toy.root / "stages" / "write.py").open("a").write("# changed\n")
    done = flow.run(TOY_FAULT="known")
    assert done.returncode == 1
    assert " - Retry " not in done.stdout + done.stderr


def test_faulty_parameters_and_settings_are_refused_before_anything_starts(flow):
    params, settings = flow.toy.root / "params.yaml", flow.toy.root / "machine.yaml"
    params.write_text(params.read_text().replace("size: 768", "size: 0"))
    done = flow.run()
    assert done.returncode == 1
    assert done.stderr == "params.yaml: `sample.size` is 0, but must be an integer of at least 1.\n"
    params.write_text(params.read_text().replace("size: 0", "size: 768"))
    settings.write_text("workers: 0\n")
    done = flow.run()
    assert done.returncode == 1
    assert done.stderr == "machine.yaml: `workers` is 0, but must be an integer of at least 1.\n"
    assert flow.toy.runs() == []


def test_settings_of_the_machine_make_nothing_stale(flow):
    flow.toy.repro()
    (flow.toy.root / "machine.yaml").write_text("workers: 1\ngpu_hour_price: 3\n")
    assert flow.toy.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    assert "0 run, 0 may run, 4 are up to date." in flow.run("--plan").stdout


def test_an_unknown_stage_and_a_server_that_is_not_there_are_one_sentence(flow):
    done = flow.run("scribble")
    assert done.returncode == 1
    assert done.stderr.startswith("dvc.yaml has no stage 'scribble'; its stages are check, write@a")
    url, flow.env["PREFECT_API_URL"] = flow.env["PREFECT_API_URL"], "http://127.0.0.1:1/api"
    done = flow.run()
    assert done.returncode == 1
    assert re.fullmatch(
        r"Prefect at http://127.0.0.1:1/api does not answer \(.*\): start that server, .*\n", done.stderr
    )
    flow.env["PREFECT_API_URL"] = url
    done = flow.run(MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert done.returncode == 1
    assert "MLflow at http://127.0.0.1:1 does not answer" in done.stderr


def test_a_second_flow_in_the_same_workspace_is_refused(flow):
    first = flow.start(TOY_SECONDS="1")
    flow.toy.until(lambda: flow.toy.made() != [])
    done = flow.run()
    assert done.returncode == 1
    assert done.stderr.startswith("Another flow runs in ")
    assert first.wait(timeout=60) == 0


def test_a_terminated_flow_ends_all_its_processes_and_says_so(flow):
    """SIGTERM: within 25 s, in Prefect and in MLflow."""
    process = flow.start(TOY_SECONDS="2")
    flow.toy.until(lambda: flow.toy.made() != [])
    began = time.monotonic()
    process.terminate()
    assert process.wait(timeout=25) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 25
    pids = {int(line.split()[0]) for line in flow.toy.made()}
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert {run.info.status for run in flow.toy.ended_runs(3)} == {"KILLED"}
    states = flow.states()
    assert (states["flow"], states["write@a"], states["write@b"]) == ("Crashed", "Crashed", "Crashed")


def test_a_flow_that_is_stopped_while_a_stage_waits_to_be_tried_again_ends_at_once(flow):
    """Within 3 s where nothing else runs. And meanwhile its place is free: another stage of as many threads ends."""
    (flow.toy.root / "machine.yaml").write_text("workers: 1\nretry_seconds: 600\n")
    script = flow.toy.root / "stages" / "write.py"
    flaky = "if run.key == 'a': raise ConnectionError('the hub does not answer.')\n        for piece in range"
    script.write_text(script.read_text().replace("for piece in range", flaky))
    process = flow.start()
    flow.toy.until(lambda: " - Retry 1/3 will start " in (flow.toy.root / "started.log").read_text())
    flow.toy.until(lambda: flow.states().get("write@b") == "Completed")
    began = time.monotonic()
    process.terminate()
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    seconds = time.monotonic() - began
    assert seconds < 3 * max(1.0, os.getloadavg()[0] / os.cpu_count()), seconds
    states = flow.states()
    assert (states["flow"], states["write@a"]) == ("Crashed", "Crashed")
    assert {run.info.run_name: run.info.status for run in flow.toy.ended_runs(3)}["pipeline"] == "KILLED"


def test_after_a_kill_the_next_flow_corrects_the_record_and_runs_nothing_twice(flow):
    """SIGKILL, which nobody can catch: the stages notice, or are ended at the next start."""
    process = flow.start(TOY_SECONDS="1")
    flow.toy.until(lambda: len(flow.toy.made()) >= 3)
    process.kill()
    process.wait()
    crashed = flow.states()
    assert crashed["flow"] == "Running"
    done = flow.run()
    assert done.returncode == 0, done.stdout + done.stderr
    pieces = [line.partition(" ")[2] for line in flow.toy.made()]
    assert sorted(pieces) == sorted(set(pieces))
    runs = flow.toy.ended_runs(len(flow.toy.runs()))
    parents = [run.info.status for run in runs if run.info.run_name == "pipeline"]
    assert parents == ["KILLED", "FINISHED"]
    with sqlite3.connect(flow.database) as connection:
        names = connection.execute("select state_name from flow_run order by created desc limit 2").fetchall()
    assert [name for (name,) in names] == ["Completed", "Crashed"]


def test_stages_that_do_not_need_each_other_run_at_once(flow):
    """As many as there are places: two of six, each of which takes 5 s."""
    (flow.toy.root / "machine.yaml").write_text("workers: 2\n")
    (flow.toy.root / "stages" / "wait.py").write_text(
        "import sys, time\nfrom pathlib import Path\nbegan = time.time()\ntime.sleep(5)\n"
        "Path('slept').mkdir(exist_ok=True)\nPath(f'slept/{sys.argv[1]}').write_text(f'{began} {time.time()}')\n"
    )
    names = ", ".join(f"s{number}: {{}}" for number in range(6))
    (flow.toy.root / "dvc.yaml").write_text(
        f"stages:\n  wait:\n    foreach: {{{names}}}\n    do:\n      cmd: python -m stages.wait ${{key}}\n"
        '      deps: [stages/wait.py]\n      outs: ["slept/${key}"]\n'
    )
    done = flow.run()
    assert done.returncode == 0, done.stdout + done.stderr
    times = [tuple(map(float, path.read_text().split())) for path in (flow.toy.root / "slept").glob("s?")]
    at_once = [sum(began <= moment < ended for began, ended in times) for moment, _ in times]
    assert (len(times), max(at_once)) == (6, 2)
