"""The files of infra/ as Compose and Kubernetes read them."""

import json
import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-?])([^}]*))?\}")


def compose(name: str = "compose.yaml") -> dict:
    """A Compose file, anchors resolved and variables as they stand."""
    return yaml.safe_load((INFRA / name).read_text())


def manifests() -> list[dict]:
    """Every object of infra/kubernetes."""
    return [
        found
        for path in sorted((INFRA / "kubernetes").glob("*.yaml"))
        for found in yaml.safe_load_all(path.read_text())
    ]


def manifest(kind: str, name: str) -> dict:
    """One of them."""
    return next(found for found in manifests() if (found["kind"], found["metadata"]["name"]) == (kind, name))


def work_pool() -> dict:
    """The base job template of the GPU work pool."""
    return json.loads((INFRA / "kubernetes" / "work-pool.json").read_text())


def template() -> dict[str, str]:
    """The variables of .env.example."""
    return variables(INFRA / ".env.example")


def variables(path: Path) -> dict[str, str]:
    """The variables of a file that Compose would read."""
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def fresh_secrets(folder: Path) -> dict[str, str]:
    """What infra/secrets.sh makes of the template, in a folder of its own."""
    for name in (".env.example", "secrets.sh"):
        (folder / name).write_bytes((INFRA / name).read_bytes())
    subprocess.run(["bash", folder / "secrets.sh"], check=True, cwd="/")
    return variables(folder / ".env")


def filled(value, env: dict[str, str]):
    """A part of a Compose file with its variables replaced."""
    if isinstance(value, dict):
        return {key: filled(entry, env) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, env) for entry in value]
    return VARIABLE.sub(lambda match: env[match[1]], value) if isinstance(value, str) else value
