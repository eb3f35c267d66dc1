"""An MLflow server: one that is not there is named before any work, one that is there gets everything."""

import socket
import subprocess
import time
from contextlib import closing

import pytest
from local_servers import answering, free_port


def refused(toy, uri):
    """The sentence of a stage that could not reach `uri`, said in time and before any work."""
    started = time.monotonic()
    done = toy.run("python", "-m", "stages.write", "a", MLFLOW_TRACKING_URI=uri)
    assert time.monotonic() - started < 15
    assert done.returncode == 1
    assert toy.made() == []
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_server_that_refuses_is_named_without_its_password(toy):
    port = free_port()
    sentence = refused(toy, f"http://user:secret@127.0.0.1:{port}")
    assert sentence.startswith(f"write@a: MLflow at http://127.0.0.1:{port} does not answer (")
    assert "start that server or correct MLFLOW_TRACKING_URI" in sentence
    assert "secret" not in sentence


def test_database_that_refuses_is_named(toy):
    sentence = refused(toy, f"postgresql://user:secret@127.0.0.1:{free_port()}/mlflow")
    assert "does not answer" in sentence
    assert "secret" not in sentence


@pytest.mark.slow
def test_server_that_hangs_is_given_up(toy):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        assert "does not answer" in refused(toy, f"http://127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.slow
def test_server_that_is_no_mlflow_is_named(toy):
    with answering(404) as uri:
        assert f"MLflow at {uri} cannot be written (" in refused(toy, uri)


@pytest.mark.slow
def test_stage_is_recorded_on_a_server(toy):
    """Runs, artifacts and parent, through the REST interface."""
    port = free_port()
    command = f"mlflow server --host 127.0.0.1 --port {port} --workers 1 --backend-store-uri sqlite:///server.db"
    server = toy.start(*command.split(), MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    uri = f"http://127.0.0.1:{port}"
    try:
        toy.until(lambda: b"Uvicorn running" in (toy.root / "started.log").read_bytes(), seconds=120)
        done = toy.run("python", "-m", "stages.write", "a", MLFLOW_TRACKING_URI=uri)
        assert done.returncode == 0, done.stderr
        digest = subprocess.run(["md5sum", "metrics-a.json"], cwd=toy.root, capture_output=True, text=True).stdout[:32]
        found = toy.run("python", "-m", "runtime.tracking.find", digest, MLFLOW_TRACKING_URI=uri)
    finally:
        server.terminate()
        server.wait()
    assert "stage  write@a, FINISHED" in found.stdout, found.stderr
    assert f"open   {uri}/#/experiments/" in found.stdout
    assert toy.runs() == []
