"""The Prefect server of a flow: it ends with that flow, and when another one finds the flow dead."""

import os
import re
import subprocess
import sys
import urllib.request

import pytest
from local_servers import free_port

from flows.services.server import QUIET, start_server

# Uses a server until its input ends, and says where that is.
USER = """
import sys
from pathlib import Path
from flows.services.server import prefect_server
with prefect_server(Path.cwd()) as url:
    print("url", url, flush=True)
    sys.stdin.read()
"""
COMMAND = [sys.executable, "-c", USER]


def answers(url):
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()
    except OSError:
        return False
    return True


def url_in(lines):
    return next(line.split()[1] for line in lines if line.startswith("url "))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_user_has_the_server_that_runs_and_leaves_it(toy):
    """`make gc` beside a flow ended the flow's server; that of a flow that was killed is ended by the next one."""
    first = subprocess.Popen(
        COMMAND, cwd=toy.root, env=toy.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    url = url_in(first.stdout)
    second = toy.run(*COMMAND)
    assert url_in(second.stdout.splitlines()) == url
    assert answers(url)
    first.kill()
    first.wait()
    assert answers(url)
    third = toy.run(*COMMAND)
    assert third.returncode == 0, third.stderr
    assert url_in(third.stdout.splitlines()) != url
    assert not answers(url)
    assert list((toy.root / ".work" / "servers").iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("fault", "status", "said"), [("", 0, "FINISHED"), ("known", 1, "FAILED")])
def test_a_flow_whose_server_dies_goes_on_and_says_so(toy, fault, status, said):
    """Within half a minute of its last stage, in one line, with the status and the record that its stages deserve."""
    port = free_port()
    env = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "TOY_SECONDS": "2", "TOY_FAULT": fault}
    with start_server(toy.root, port, toy.root / ".work" / "server.txt"):
        flow = toy.start(sys.executable, "-m", "flows.pipeline", **env)
        toy.until(toy.made)
    assert len(toy.made()) < 6, "the flow was faster"
    toy.until(lambda: any(run.info.run_name == "pipeline" and run.info.end_time for run in toy.runs()), 250)
    assert flow.wait(30) == status
    text = (toy.root / "started.log").read_text()
    lines = [line for line in text.splitlines() if not re.match(r"\d\d:\d\d:\d\d.\d+ \| ", line)]
    assert lines[0] == "Prefect's server has died under the flow, which went on without it: MLflow has the record."
    assert len(lines) == 1 + status
    assert ("| ERROR " in text) == (status == 1), "what of its stages has failed, and nothing else"
    assert "Traceback" not in text
    statuses = {run.info.run_name: run.info.status for run in toy.ended_runs(len(toy.runs()))}
    assert statuses["pipeline"] == said
    assert "RUNNING" not in statuses.values()
    if not fault:
        assert (toy.root / "out" / "joined.txt").exists()


@pytest.mark.slow
def test_prefect_is_told_to_clear_flow_runs_of_over_90_days():
    """By its own vacuum, once an hour; nobody else removes any."""
    code = (
        "from prefect.settings import get_current_settings as settings\n"
        "found = settings().server.services.db_vacuum\n"
        "print(sorted(found.enabled_vacuum_types), found.retention_period.days, found.loop_seconds)"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=os.environ | QUIET, capture_output=True, text=True, check=True).stdout
    assert said == "['events', 'flow_runs', 'orphans'] 90 3600.0\n"
