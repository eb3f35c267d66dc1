"""`make ui`: says where the runs are once they can be seen there; the view that it opens compares results."""

import os
import re
import socket
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
from local_servers import free_port

from runtime.tracking.store import RunLog
from tests.browser import needs_browser, opened
from tests.conftest import STORE

SCORES = ["color", "non_spatial"]
VIEW = {"x": "gamma", "scores": SCORES, "settings": ["gamma", "rank"]}


def report(toy):
    """A run of a report on three arms, with a picture that its description shows."""
    begin = {
        "uri": STORE.format(root=toy.root),
        "root": str(toy.root),
        "experiment": "taca",
        "name": "report",
        "parent": None,
        "dvc": None,
        "pid": os.getpid(),
        "pid_started": str(psutil.Process().create_time()),
        "start_ms": int(time.time() * 1000),
        "params": {},
        "tags": {"stage": "report"},
        "inputs": [],
        "pipeline_outs": [],
    }
    log = RunLog(begin)
    for name, gamma, color in (("baseline", 1.0, 0.7), ("taca", 1.2, 0.8), ("more", 1.4, 0.75)):
        scores = dict.fromkeys(SCORES, color)
        log.add_result(name, {"gamma": gamma, "rank": 16}, {"gamma": gamma, **scores})
    log.present("# Means\n\n| arm | color |\n|---|---|\n| taca | .8 |\n", VIEW)
    log.end("FINISHED")
    return log


@contextmanager
def served(toy):
    """`make ui`'s program; yields the address that it prints."""
    port = free_port()
    process = toy.start(sys.executable, "-m", "flows.ui", "--port", str(port))
    text = toy.root / "started.log"
    try:
        toy.until(lambda: "The runs are at" in text.read_text() or process.poll() is not None, seconds=200)
        yield re.search(r"The runs are at (\S+)", text.read_text())[1]
    finally:
        process.terminate()
        process.wait()
        with socket.socket() as probe:  # nothing of it is left
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


@needs_browser
@pytest.mark.slow
def test_the_view_shows_the_scatter_and_the_parallel_coordinates(toy, tmp_path):
    """In a browser with an empty profile: each result a run, its scores against gamma, and no page for chats."""
    report(toy)
    with served(toy) as url:
        assert re.search(r"/#/experiments/1/runs\?viewStateShareKey=compare&", url)
        with opened(url, tmp_path / "profile") as page:
            page.until("document.querySelectorAll('.scatterlayer .point').length >= 6")
            page.until("document.querySelector('.parcoords') !== null")
            text = page.evaluate("document.body.innerText")
    assert "gamma vs. color" in text
    assert {"baseline", "taca", "more"} <= set(text.split())
    assert "3 matching runs" in text
    assert "Judges" not in text


@pytest.mark.slow
def test_without_results_the_start_page_is_named(toy):
    with served(toy) as url:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)


def test_a_port_that_is_taken_is_refused(toy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = toy.run(sys.executable, "-m", "flows.ui", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert re.fullmatch(r"Port \d+ is taken: stop what has it, or choose another \(make ui PORT=...\)\.\n", done.stderr)
    assert not done.stdout


def test_results_are_runs_that_metrics_can_be_compared_by(toy):
    """MLflow compares no parameters by size."""
    log = report(toy)
    found = log._client.search_runs([log.experiment_id], "metrics.gamma > 1.15")
    assert sorted(run.info.run_name for run in found) == ["more", "taca"]
    assert {run.data.tags["mlflow.parentRunId"] for run in found} == {log.run_id}
    assert log._client.get_experiment(log.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"


def test_descriptions_name_artifacts_of_their_run_and_are_cut_at_a_line(toy):
    log = report(toy)
    log.present("![grid](artifact:outs/grid.png)\n" + "| a line | of a table |\n" * 500, VIEW)
    text = log._client.get_run(log.run_id).data.tags["mlflow.note.content"]
    assert text.startswith(f"![grid](get-artifact?run_uuid={log.run_id}&path=outs/grid.png)\n")
    assert len(text) < 8000
    assert text.endswith("| a line | of a table |\n\n(cut: the whole is among the artifacts)\n")
