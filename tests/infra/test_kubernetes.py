"""infra/kubernetes: by the models of the Kubernetes API, and against what Compose runs."""

import json
import re
import shutil
import subprocess
from uuid import uuid4

import pytest
import yaml
from kubernetes_asyncio.client import models

from tests.infra.settings import INFRA, compose, fresh_secrets, manifest, manifests, template, work_pool

OBJECTS = manifests()
NAMES = [f"{found['kind']}/{found['metadata']['name']}" for found in OBJECTS]
SHARED = {
    "postgres": "StatefulSet",
    "s3": "StatefulSet",
    "buckets": "Job",
    "mlflow": "Deployment",
    "prefect": "Deployment",
}
PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")


def faults(value, kind: str, path: str) -> list[str]:
    """Where `value` is not what the API's models call `kind`: unknown or missing keys, values of a wrong type."""
    if match := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [fault for number, entry in enumerate(value) for fault in faults(entry, match[1], f"{path}[{number}]")]
    if match := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(value, dict):
            return [f"{path} is no mapping"]
        return [fault for key, entry in value.items() for fault in faults(entry, match[1], f"{path}.{key}")]
    if kind in ("str", "int", "bool"):
        return [] if type(value).__name__ == kind else [f"{path} is {value!r}, no {kind}"]
    if kind == "object":  # a number or a name
        return [] if isinstance(value, int | str) else [f"{path} is {value!r}"]
    return _model_faults(value, getattr(models, kind), path)


def _model_faults(value, model: type, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path} is no mapping"]
    attributes = {key: name for name, key in model.attribute_map.items()}
    found = [f"{path}.{key} is unknown" for key in value if key not in attributes]
    known = {attributes[key]: entry for key, entry in value.items() if key in attributes}
    for name, entry in known.items():
        found += faults(entry, model.openapi_types[name], f"{path}.{model.attribute_map[name]}")
    try:
        model(**known)  # it refuses what lacks a required key
    except ValueError as error:
        found.append(f"{path}: {error}")
    return found


def model_of(found: dict) -> str:
    """The name of the API's model: its last part of the version, and the kind."""
    return f"V{found['apiVersion'].rpartition('/')[2][1:]}{found['kind']}"


def pods() -> dict[str, dict]:
    """The specification of every pod, that of the work pool's jobs too."""
    found = {
        f"{entry['kind']}/{entry['metadata']['name']}": entry["spec"]["template"]["spec"]
        for entry in OBJECTS
        if "template" in entry.get("spec", {})
    }
    return found | {
        "job of the work pool": work_pool()["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    }


def containers(pod: dict) -> list[dict]:
    return pod.get("initContainers", []) + pod["containers"]


def made_job(**values: object) -> dict:
    """The job that the worker makes of the template for a flow run."""
    from prefect.client.schemas import FlowRun
    from prefect.utilities.templating import apply_values
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    pool = work_pool()
    defaults = {name: entry["default"] for name, entry in pool["variables"]["properties"].items() if "default" in entry}
    made = KubernetesWorkerJobConfiguration(**apply_values(pool["job_configuration"], defaults | values))
    made.prepare_for_flow_run(FlowRun(name="cell", flow_id=uuid4()))
    return made.job_manifest


@pytest.mark.parametrize("found", OBJECTS, ids=NAMES)
def test_objects_are_what_the_api_takes(found):
    assert faults(found, model_of(found), found["kind"]) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda pod: pod.update(enableServiceLink=False), "enableServiceLink is unknown"),
        (lambda pod: pod["containers"][0].pop("name"), "Invalid value for `name`"),
        (lambda pod: pod["containers"][0]["resources"]["limits"].update(memory=4), "is 4, no str"),
    ],
)
def test_the_models_see_a_fault(change, fault):
    """The check above can fail."""
    broken = manifest("Deployment", "mlflow")
    change(broken["spec"]["template"]["spec"])
    assert any(fault in found for found in faults(broken, model_of(broken), "Deployment"))


@pytest.mark.parametrize("name", SHARED)
def test_compose_and_kubernetes_run_the_same(name):
    service = compose()["services"][name]
    (container,) = manifest(SHARED[name], name)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == ("taca" if "build" in service else service["image"])
    assert container.get("args") == service.get("command")
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert set(env) == set(service["environment"]) - ({"PGUSER"} if name == "postgres" else set())
    assert {key: value for key, value in env.items() if value} == {
        key: value for key, value in service["environment"].items() if key in env and "${" not in value
    }


@pytest.mark.parametrize(
    "found", [found for found in OBJECTS if found["kind"] == "Service"], ids=lambda found: found["metadata"]["name"]
)
def test_services_lead_to_a_port_that_is_open(found):
    name = found["metadata"]["name"]
    assert found["spec"]["selector"] == {"app": name}
    pod = manifest(SHARED[name], name)["spec"]["template"]
    assert pod["metadata"]["labels"] == {"app": name}
    opened = {port["containerPort"] for container in pod["spec"]["containers"] for port in container["ports"]}
    assert {port["port"] for port in found["spec"]["ports"]} == opened


@pytest.mark.parametrize("name", pods())
def test_pods_find_their_secrets_and_files_and_no_foreign_variables(name):
    pod = pods()[name]
    assert pod["enableServiceLinks"] is False
    generated = yaml.safe_load((INFRA / "kustomization.yaml").read_text())["configMapGenerator"]
    files = {path.rpartition("/")[2] for path in generated[0]["files"]}
    claims = [
        claim["metadata"]["name"]
        for found in OBJECTS
        for claim in found.get("spec", {}).get("volumeClaimTemplates", [])
    ]
    volumes = [volume["name"] for volume in pod.get("volumes", [])] + claims
    for container in containers(pod):
        for entry in container.get("env", []):
            if "valueFrom" in entry:
                reference = entry["valueFrom"]["secretKeyRef"]
                assert reference["name"] == "taca"
                assert reference["key"] in template()
        for mount in container.get("volumeMounts", []):
            assert mount["name"] in volumes
            assert mount.get("subPath") in files | {None}
        used = re.findall(r"/infra/([\w.-]+)", json.dumps(container))
        assert set(used) <= files


def test_kustomize_applies_every_file():
    kustomization = yaml.safe_load((INFRA / "kustomization.yaml").read_text())
    assert set(kustomization["resources"]) == {
        f"kubernetes/{path.name}" for path in (INFRA / "kubernetes").glob("*.yaml")
    }


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
def test_kustomize_renders_one_image_and_one_secret(tmp_path):
    infra = shutil.copytree(INFRA, tmp_path / "infra", ignore=shutil.ignore_patterns(".env", "backups"))
    secrets = fresh_secrets(infra)
    done = subprocess.run(["kubectl", "kustomize", infra], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rendered = list(yaml.safe_load_all(done.stdout))
    image = work_pool()["variables"]["properties"]["image"]["default"]
    version = compose()["services"]["worker"]["image"].partition(":")[2]
    assert image.endswith(f"/taca:{version}")
    templates = [found["spec"]["template"]["spec"] for found in rendered if "template" in found.get("spec", {})]
    images = {container["image"] for pod in templates for container in containers(pod)}
    assert images == {image, "postgres:18.4-bookworm", "chrislusf/seaweedfs:4.47"}
    (secret,) = (found for found in rendered if found["kind"] == "Secret")
    assert (secret["metadata"]["name"], set(secret["data"])) == ("taca", set(secrets))
    assert {
        found["metadata"].get("namespace") for found in rendered if found["kind"] not in ("Namespace", "RuntimeClass")
    } == {"taca"}


def test_every_variable_of_the_work_pool_reaches_its_jobs():
    """One that the job does not name would be taken and ignored."""
    pool = work_pool()
    named = set(PLACEHOLDER.findall(json.dumps(pool["job_configuration"])))
    assert named == set(pool["variables"]["properties"])


def test_the_job_on_an_a100_is_what_the_api_takes():
    job = made_job()
    pod = job["spec"]["template"]["spec"]
    # Prefect's worker asks for these two in a place where the API ignores them.
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    assert faults(job, "V1Job", "Job") == []


def test_the_job_asks_for_a_node_that_is_defined_and_for_a_gpu_of_it():
    pod = made_job()["spec"]["template"]["spec"]
    node = manifest("RuntimeClass", pod["runtimeClassName"])
    (toleration,) = node["scheduling"]["tolerations"]
    resources = pod["containers"][0]["resources"]
    assert resources["requests"][toleration["key"]] == resources["limits"][toleration["key"]] == "1"
    assert "nodeSelector" not in pod
    assert "tolerations" not in pod


def test_only_one_file_says_what_an_a100_node_is():
    product = "NVIDIA-A100"
    naming = [path.name for path in INFRA.rglob("*") if path.is_file() and product in path.read_text()]
    assert naming == ["a100.yaml"]


def test_a_deployment_can_ask_for_more():
    pod = made_job(gpus="4", memory="400Gi", env={"TACA_CELL": "x"})["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["resources"]["limits"] == {"memory": "400Gi", "nvidia.com/gpu": "4"}
    env = {entry["name"] for entry in container["env"]}
    assert {"TACA_CELL", "MLFLOW_TRACKING_PASSWORD"} <= env
