"""The Prefect server of a flow: it ends with that flow, and when another one finds the flow dead."""

import os
import subprocess
import sys
import urllib.request

import pytest

from flows.services.server import QUIET

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
def test_prefect_is_told_to_clear_flow_runs_of_over_90_days():
    """By its own vacuum, once an hour; nobody else removes any."""
    code = (
        "from prefect.settings import get_current_settings as settings\n"
        "found = settings().server.services.db_vacuum\n"
        "print(sorted(found.enabled_vacuum_types()), found.retention_period.days, found.loop_seconds)"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=os.environ | QUIET, capture_output=True, text=True, check=True).stdout
    assert said == "['events', 'flow_runs', 'orphans'] 90 3600.0\n"
