"""infra/compose.yaml: by the specification's schema, and in what the schema can't see."""

import re
import stat
import subprocess
import tomllib

import pytest

from tests.infra.settings import INFRA, ROOT, VARIABLE, compose, fresh_secrets, template

SERVICES = compose()["services"]
ONCE = {"buckets"}  # services that end


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_follows_the_compose_specification(name):
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", INFRA / name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_schema_sees_a_fault(tmp_path):
    """The check above can fail."""
    broken = tmp_path / "compose.yaml"
    broken.write_text("services: {a: {image: b, restarts: always}}\n")
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", broken]
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_the_file_for_gpus_adds_to_services_that_are_there():
    assert set(compose("compose.gpu.yaml")["services"]) <= set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_can_come_true(name):
    for needed, entry in SERVICES[name].get("depends_on", {}).items():
        if entry["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[needed]
        else:
            assert entry["condition"] == "service_completed_successfully"
            assert needed in ONCE


@pytest.mark.parametrize("name", SERVICES)
def test_services_come_back_and_say_how_they_are(name):
    service = SERVICES[name]
    assert service["restart"] == ("on-failure" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in service) == (name not in ONCE)


@pytest.mark.parametrize("name", SERVICES)
def test_volumes_are_declared_and_files_are_there(name):
    declared = compose()["volumes"]
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        if not source.startswith("."):
            assert source in declared
        elif source != "./backups":  # made by Compose
            assert (INFRA / source).exists()


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_to_a_version(name):
    assert re.fullmatch(r"[\w/-]+:\d+\.\d+(\.\d+)?(-\w+)?", SERVICES[name]["image"])


def test_the_own_image_has_this_projects_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    own = {service["image"] for service in SERVICES.values() if "build" in service}
    assert own == {f"taca:{version}"}


def test_the_own_image_is_made_of_the_lock_file():
    """With what the servers need beyond what the stages do, and the FastAPI that Prefect's server starts with."""
    dockerfile = (INFRA / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.11\.\d+-", dockerfile, re.MULTILINE)
    assert "pip install --no-cache-dir --require-hashes --requirement /requirements.lock" in dockerfile
    locked = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert {"asyncpg", "boto3", "flask-wtf", "prefect-kubernetes", "psycopg2-binary"} <= {name for name, _ in locked}
    assert ("fastapi", "0.141.1") in locked


def test_nothing_but_the_lock_file_goes_into_the_image():
    assert (INFRA / "Dockerfile.dockerignore").read_text() == "*\n!requirements.lock\n"


def test_ports_are_open_to_this_machine_alone():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_asks_for_what_the_template_names_and_refuses_to_start_without():
    text = "".join((INFRA / name).read_text() for name in ("compose.yaml", "compose.gpu.yaml"))
    asked = VARIABLE.findall(text)
    assert {name for name, _, _ in asked} == set(template())
    assert {(operator, message) for _, operator, message in asked} == {(":?", "run infra/secrets.sh")}


def test_the_template_holds_no_secret():
    assert {name for name, value in template().items() if value} == {"AWS_ACCESS_KEY_ID"}


def test_secrets_are_fresh_private_and_never_replaced(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    secrets = fresh_secrets(first)
    assert set(secrets) == set(template())
    assert re.fullmatch(r"admin:[0-9a-f]{48}", secrets["PREFECT_AUTH_STRING"])
    assert re.fullmatch(r"\d+:\d+", secrets["TACA_USER"])
    assert stat.S_IMODE((first / ".env").stat().st_mode) == 0o600
    random = {value for name, value in secrets.items() if name not in ("AWS_ACCESS_KEY_ID", "TACA_USER")}
    assert len(random) == len(secrets) - 2
    assert not random & set(fresh_secrets(second).values())
    again = subprocess.run(["bash", first / "secrets.sh"], capture_output=True, text=True)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "infra/.env exists" in again.stderr


def test_git_ignores_secrets_and_backups():
    for path in ("infra/.env", "infra/backups/mlflow.dump"):
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0


def test_the_guide_names_every_variable_that_someone_has_to_set():
    guide = (ROOT / "docs" / "operations.md").read_text()
    worker = SERVICES["worker"]["environment"]
    asked = {name for name in worker if name.startswith(("AWS_", "MLFLOW_", "PREFECT_API_"))} | set(template())
    assert {name for name in asked if f"`{name}`" not in guide} == set()


def test_the_files_that_the_guide_names_are_there():
    guide = (ROOT / "docs" / "operations.md").read_text()
    named = set(re.findall(r"\binfra/[\w./-]*\w", guide)) - {"infra/.env", "infra/backups/2030-01-31"}
    assert len(named) > 5
    assert {path for path in named if not (ROOT / path).exists()} == set()
