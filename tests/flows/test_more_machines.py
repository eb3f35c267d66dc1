"""Cells of a sweep on other machines: computed once wherever they run, none lost with a node, and nothing shared but
git, the DVC remote and MLflow."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time

import machines
import pytest
import sweep_toy
from machines import Ray, Shared, make, run, until
from sweep_toy import log, sweep

from flows.machines.elsewhere import remote_settings
from tests.conftest import Toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CELLS = ["baseline", "lora-only", "gamma-1.1", "gamma-1.2", "gamma-1.4"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    shared = Shared(tmp_path_factory.mktemp("shared"))
    yield shared
    shared.close()


@pytest.fixture
def cluster(toy, shared):
    """Two Ray nodes whose environment is that of the toy repository's stages."""
    cluster = Ray(
        toy.env | shared.env | {"TOY_LOG": str(toy.root / "toy.log"), "TOY_SECONDS": "4", "TOY_GENERATE_SECONDS": "4"}
    )
    yield cluster
    cluster.close()


def cells(toy):
    """What the sweep's page says: label and experiment of every finished cell."""
    found = json.loads((toy.root / "results" / "sweeps" / "gamma" / "cells.json").read_text())
    page = (toy.root / "results" / "sweeps" / "gamma" / "index.html").read_text()
    assert all(cell["label"] in page for cell in found)
    return {cell["label"]: cell["experiment"] for cell in found}


def experiments(toy):
    """The commits of the experiments on HEAD that are in the repository."""
    head = run(toy, "git", "rev-parse", "HEAD").strip()
    under = f"refs/exps/{head[:2]}/{head[2:]}"
    return set(run(toy, "git", "for-each-ref", "--format=%(objectname)", under).split())


def second(toy, tmp_path):
    """Another clone, of another person, with a cache of its own that is empty."""
    root = tmp_path / "second"
    run(toy, "git", "clone", "-q", str(tmp_path / "origin.git"), str(root))
    for own in ("machine.yaml", ".git/info/exclude"):  # of that person's machine
        shutil.copy2(toy.root / own, root / own)
    other = Toy(root)
    other.env = dict(toy.env)
    return other


def test_cells_on_a_ray_cluster_are_computed_once_for_everybody(toy, shared, cluster, tmp_path):
    make(toy, shared, "once", runner="ray", ray_address=cluster.address)
    done = sweep(toy, "gamma")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(cells(toy)) == sorted(CELLS)
    assert set(cells(toy).values()) == experiments(toy)
    computed = log(toy)
    assert len([line for line in computed if line.startswith("generate")]) == 5
    # Both nodes had work: one place each, and three cells that train for seconds.
    for name in ("one", "two"):
        assert list(cluster.home(name).glob("commits/*/.git"))

    began = time.monotonic()
    again = sweep(toy, "gamma")
    print(f"again: {time.monotonic() - began:.1f} s")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "5 cells done" in again.stdout + again.stderr
    assert log(toy) == computed

    # Another person gets the experiments and their scores...
    other = second(toy, tmp_path)
    done = sweep(other, "gamma")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cells(other) == cells(toy)
    # ...and at another commit, where there are none, what their stages left.
    (other.root / "README").write_text("Another commit.\n")
    sweep_toy.commit_all(other)
    refused = sweep(other, "gamma")
    assert re.match(r"Workers cannot get commit \w{10} from .*origin.git: `git push` it there", refused.stderr)
    run(other, "git", "push", "-q", "origin", "HEAD")
    done = sweep(other, "gamma")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(cells(other)) == sorted(CELLS)
    assert not set(cells(other).values()) & set(cells(toy).values())
    assert log(toy) == computed


def test_a_node_that_dies_takes_no_cell_with_it(toy, shared, cluster):
    make(toy, shared, "killed", runner="ray", ray_address=cluster.address)
    edited = toy.root / "stages" / "train.py"
    edited.write_text(edited.read_text() + "# not committed\n")
    running = toy.start(sys.executable, "-m", "flows.sweep", "gamma")

    def generates_on_two() -> bool:
        assert running.poll() is None, (toy.root / "started.log").read_text()
        return bool(list(cluster.home("two").glob("commits/*/.work/groups/*-generate-cell.txt")))

    until(generates_on_two)
    cluster.kill("two")
    assert running.wait(timeout=600) == 0, (toy.root / "started.log").read_text()
    assert sorted(cells(toy)) == sorted(CELLS)
    assert set(cells(toy).values()) == experiments(toy)
    assert len(experiments(toy)) == 5
    trained = run(toy, "git", "show", f"{cells(toy)['gamma-1.4']}:dvc.lock").partition("train@cell:")[2]
    assert hashlib.md5(edited.read_bytes(), usedforsecurity=False).hexdigest() in trained
    assert list(cluster.home("two").glob("commits/*/.work/cells/*")), "it was not in the middle of a cell"
    trained = [line for line in log(toy) if line.startswith("train")]
    assert len(trained) == len(set(trained)) == 5, trained


def test_cells_run_as_flow_runs_of_a_work_pool(toy, shared, tmp_path):
    """A process pool speaks the API that a Kubernetes pool does: it clones, and its worker knows no repository."""
    make(toy, shared, "pool", runner="kubernetes", work_pool="cells")
    toy.bring_code()
    sweep_toy.commit_all(toy)
    run(toy, "git", "push", "-q", "origin", "HEAD")
    missing = sweep(toy, "gamma")
    assert "There is no work pool 'cells' (`work_pool` in machine.yaml)" in missing.stdout + missing.stderr
    assert not [line for line in log(toy) if " 1.4" in line]
    prefect = [sys.executable, "-m", "prefect"]
    run(toy, *prefect, "work-pool", "create", "cells", "--type", "process")
    env = {key: value for key, value in toy.env.items() if key != "PYTHONPATH"}
    env["TACA_WORKER_HOME"] = str(tmp_path / "home")
    command = [*prefect, "worker", "start", "--pool", "cells", "--limit", "2"]
    worker = shared.start("worker", command, env, cwd=tmp_path)
    try:
        done = sweep(toy, "gamma")
    finally:
        machines.end_group(worker.pid)
    assert done.returncode == 0, done.stdout + done.stderr + (shared.folder / "worker.log").read_text()
    assert sorted(cells(toy)) == sorted(CELLS)
    assert set(cells(toy).values()) == experiments(toy)
    assert list((tmp_path / "home" / "commits").glob("*/.git"))


def test_passwords_do_not_travel(toy):
    """Each machine has its own."""
    run(toy, "dvc", "remote", "add", "--default", "storage", "s3://bucket/data")
    for key, value in (("endpointurl", "http://127.0.0.1:1"), ("secret_access_key", "secret")):
        run(toy, "dvc", "remote", "modify", "--local", "storage", key, value)
    assert remote_settings(toy.root) == {"url": "s3://bucket/data", "endpointurl": "http://127.0.0.1:1"}


def test_what_is_missing_is_said_before_any_cell_starts(toy, shared):
    make(toy, shared, "faults", runner="ray", ray_address="127.0.0.1:1")

    def said(**env):
        done = sweep(toy, "gamma", **env)
        assert done.returncode == 1
        return done.stderr.strip()

    assert "needs a Prefect server that its machines reach: set PREFECT_API_URL" in said(PREFECT_API_URL="")
    assert "needs an MLflow server that its machines reach" in said(MLFLOW_TRACKING_URI="sqlite:////tmp/mlflow.db")
    assert "MLflow at http://127.0.0.1:1 does not answer" in said(MLFLOW_TRACKING_URI="http://127.0.0.1:1")
    assert "The DVC remote cannot be used" in said(AWS_ENDPOINT_URL_S3="http://127.0.0.1:1")
    assert "Ray at `ray_address` of machine.yaml (127.0.0.1:1) does not answer" in said()
    run(toy, "git", "remote", "set-url", "origin", "/nowhere")
    assert (
        "from /nowhere: `git push` it there, or correct `repository` in machine.yaml (fatal: '/nowhere' does not"
        in said()
    )
    run(toy, "dvc", "remote", "remove", "storage")
    assert "needs a DVC remote" in said()
    (toy.root / "machine.yaml").write_text("runner: ray\n")
    assert "`ray_address` is null, but must be auto or HOST:PORT, since `runner` is ray." in said()
    assert log(toy) == []
    assert subprocess.run(["git", "-C", toy.root, "for-each-ref", "refs/exps"], capture_output=True).stdout == b""
