"""The servers of infra/, started with its settings: PostgreSQL, S3, MLflow and Prefect with passwords, a worker.

The toy pipeline runs against them, its data goes to the store, and the databases are backed up and restored.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.infra.services import Postgres, Services, postgres_programs
from tests.infra.settings import INFRA, ROOT, manifest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(postgres_programs() is None, reason="needs PostgreSQL (on Debian: postgresql)"),
]


@pytest.fixture(scope="module")
def services():
    services = Services()
    try:
        services.open()
        yield services
    finally:
        services.close()


def status(url: str, auth: str = "", host: str = "") -> int:
    """The status that a GET gets."""
    headers = {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"} if auth else {}
    headers |= {"Host": host} if host else {}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code


def asked(services, path: str, body: dict) -> list | dict:
    """An answer of Prefect's API."""
    auth = base64.b64encode(services.secrets["PREFECT_AUTH_STRING"].encode()).decode()
    request = urllib.request.Request(
        f"{services.url('prefect')}/api{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Basic {auth}", "Content-Type": "application/json"},
    )
    return json.load(urllib.request.urlopen(request, timeout=30))


def flow(toy, **env: str) -> subprocess.CompletedProcess:
    return toy.run(sys.executable, "-m", "flows.pipeline", **env)


def test_mlflow_lets_in_who_knows_the_password_and_the_name(services):
    page = f"{services.url('mlflow')}/api/2.0/mlflow/experiments/get?experiment_id=0"
    right = f"admin:{services.secrets['MLFLOW_AUTH_ADMIN_PASSWORD']}"
    assert (status(page), status(page, "admin:wrong"), status(page, right)) == (401, 401, 200)
    assert status(page, right, host="localhost:5000") == 200
    assert status(page, right, host="elsewhere.example") == 403


def test_prefect_lets_in_who_knows_the_password(services):
    page = f"{services.url('prefect')}/api/admin/version"
    assert (status(page), status(page, "admin:wrong")) == (401, 401)
    assert status(page, services.secrets["PREFECT_AUTH_STRING"]) == 200


def test_both_keep_all_that_they_know_in_postgresql(services):
    for database, table in (("mlflow", "experiments"), ("mlflow", "users"), ("prefect", "flow_run")):
        found = services.postgres.query(database, f"SELECT count(*) FROM pg_tables WHERE tablename = '{table}'")
        assert found == "1"
    assert not list(services.folder.rglob("*.db"))


def test_no_password_stands_in_a_command(services):
    secrets = [value for value in services.secrets.values() if len(value) > 20]
    for name in ("mlflow", "prefect", "worker", "buckets"):
        command, _ = services.settings(name)
        assert not [secret for secret in secrets if secret in " ".join(command)]


def test_the_pipeline_runs_against_them_and_its_data_reaches_the_store(toy, services):
    """Runs in MLflow with artifacts in S3, the flow in Prefect, outputs in DVC's remote, and all of it comes back."""
    env = services.client()
    done = flow(toy, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    for command in ("dvc remote add --default storage s3://dvc/toy", "dvc push -q"):
        pushed = toy.run(*command.split(), **env)
        assert pushed.returncode == 0, pushed.stderr

    runs = dict(runs_of(toy, env))
    assert {name: run["status"] for name, run in runs.items()} == dict.fromkeys(
        ("pipeline", "write@a", "write@b", "join"), "FINISHED"
    )
    parent = runs["pipeline"]["id"]
    assert {run["parent"] for name, run in runs.items() if name != "pipeline"} == {parent}
    assert runs["join"]["artifacts"].startswith("mlflow-artifacts:/")
    keys = stored(env, "mlflow")
    assert any(key.endswith(f"{runs['join']['id']}/artifacts/outs/out/joined.txt") for key in keys)
    assert stored(env, "dvc")

    (newest,) = asked(services, "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    assert newest["state_name"] == "Completed"
    tasks = asked(services, "/task_runs/filter", {"flow_runs": {"id": {"any_": [newest["id"]]}}})
    assert {task["name"] for task in tasks} == {"check", "write@a", "write@b", "join"}

    toy.run("rm", "-rf", "out", ".dvc/cache")
    pulled = toy.run("dvc", "pull", "-q", **env)
    assert pulled.returncode == 0, pulled.stderr
    assert (toy.root / "out" / "joined.txt").exists()


def runs_of(toy, env):
    """Every run of the toy's experiment, as a client of the server sees it."""
    script = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient()
runs = client.search_runs([client.get_experiment_by_name("taca").experiment_id])
print(json.dumps([[run.info.run_name, {"id": run.info.run_id, "status": run.info.status,
    "parent": run.data.tags.get("mlflow.parentRunId"), "artifacts": run.info.artifact_uri}] for run in runs]))
"""
    done = toy.run(sys.executable, "-c", script, **env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stored(env, bucket):
    """The keys of a bucket."""
    import boto3

    keys = {"aws_access_key_id": env["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"]}
    store = boto3.client("s3", endpoint_url=env["AWS_ENDPOINT_URL_S3"], region_name="us-east-1", **keys)
    return [entry["Key"] for entry in store.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"PREFECT_API_AUTH_STRING": "admin:wrong"}, "Prefect at http"),
        ({"MLFLOW_TRACKING_PASSWORD": "wrong"}, "MLflow at http"),
    ],
    ids=["prefect", "mlflow"],
)
def test_a_wrong_password_is_one_sentence_and_nothing_runs(toy, services, wrong, sentence):
    done = flow(toy, **services.client() | wrong)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(sentence)
    assert toy.made() == []


def test_the_worker_is_healthy_and_runs_what_is_deployed(toy, services):
    toy.bring_code()
    shutil.copy(ROOT / "prefect.yaml", toy.root)
    place = {"/repository": str(toy.root)}
    services.start("worker", toy.root, **place)
    try:
        services.until_up("worker")
        named = {"work_pools": {"name": {"any_": ["taca"]}}}
        toy.until(lambda: [pool["status"] for pool in asked(services, "/work_pools/filter", named)] == ["READY"])
        _, env = services.settings("worker", **place)
        toy.env = env
        deployed = toy.run("prefect", "--no-prompt", "deploy", "--name", "nightly")
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        here = ("--param", "branch=null")  # in the checkout itself
        done = toy.run("prefect", "deployment", "run", "pipeline/nightly", *here, "--watch")
        assert done.returncode == 0, done.stdout + done.stderr + services.log("worker")
    finally:
        services.stop("worker")
    assert (toy.root / "out" / "joined.txt").exists()
    assert dict(runs_of(toy, env))["pipeline"]["status"] == "FINISHED"


def test_the_gpu_pool_is_made_by_the_command_of_its_manifest(services):
    """And a job is made of what the server has kept of it."""
    (container,) = manifest("Deployment", "worker")["spec"]["template"]["spec"]["initContainers"]
    command = [part.replace("/infra/", f"{INFRA}/kubernetes/") for part in container["args"]]
    env = os.environ | services.client() | {"PREFECT_HOME": str(services.folder / "client")}
    for _ in range(2):  # it runs at every start of the worker
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    (pool,) = asked(services, "/work_pools/filter", {"work_pools": {"name": {"any_": ["a100"]}}})
    assert pool["type"] == "kubernetes"
    assert pool["base_job_template"] == json.loads((INFRA / "kubernetes" / "work-pool.json").read_text())


def test_the_databases_come_back_as_they_were(toy, services, tmp_path):
    """Backed up while the servers run, restored while they don't; passwords and runs are there again."""
    env = services.client()
    assert flow(toy, **env).returncode == 0
    backup = tmp_path / "backup"
    done = script(services, "backup.sh", backup)
    assert done.returncode == 0, done.stderr
    before = counts(services)
    assert min(before.values()) > 0

    refused = script(services, "backup.sh", backup)
    assert refused.stderr == f"{backup}/mlflow.dump exists; name a new folder.\n"
    refused = script(services, "restore.sh", backup)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "add --overwrite to replace it" in refused.stderr
    refused = script(services, "restore.sh", backup, "--overwrite")
    assert refused.stderr == "Database mlflow is in use; stop the servers of MLflow and Prefect first.\n"
    assert flow(toy, **env).returncode == 0
    assert counts(services) != before

    for name in ("mlflow", "prefect"):
        services.stop(name)
    done = script(services, "restore.sh", backup, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert counts(services) == before
    for name in ("mlflow", "prefect"):
        services.start(name)
    for name in ("mlflow", "prefect"):
        services.until_up(name)
    assert dict(runs_of(toy, env))["join"]["status"] == "FINISHED"
    assert flow(toy, **env).returncode == 0


def test_a_backup_fills_an_empty_server_and_a_broken_one_touches_nothing(services, tmp_path):
    backup = tmp_path / "backup"
    assert script(services, "backup.sh", backup).returncode == 0
    folder = services.folder / "second"
    folder.mkdir(mode=0o755)
    second = Postgres(folder, "another password")
    try:
        second.start()
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "mlflow.dump").write_bytes((backup / "mlflow.dump").read_bytes())
        (broken / "prefect.dump").write_bytes((backup / "prefect.dump").read_bytes()[:100])
        refused = run(second.env, "restore.sh", broken)
        assert refused.stderr == f"{broken}/prefect.dump is no whole dump; take another one.\n"
        assert second.query("mlflow", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"
        refused = run(second.env | {"PGPASSWORD": "wrong"}, "restore.sh", backup)
        assert refused.stderr.endswith("set PGHOST, PGUSER and PGPASSWORD.\n")
        done = run(second.env, "restore.sh", backup)
        assert done.returncode == 0, done.stderr
        assert second.query("mlflow", "SELECT count(*) FROM users") == "1"
    finally:
        second.stop()


def script(services, name, *arguments):
    """Runs a script of infra/ as it runs beside the databases."""
    return run(services.postgres.env, name, *arguments)


def run(env, name, *arguments):
    return subprocess.run([INFRA / name, *arguments], env=env, capture_output=True, text=True)


def counts(services):
    """How many rows the main tables have."""
    tables = {"runs": "mlflow", "metrics": "mlflow", "users": "mlflow", "flow_run": "prefect", "task_run": "prefect"}
    return {
        table: int(services.postgres.query(name, f"SELECT count(*) FROM {table}")) for table, name in tables.items()
    }
