"""A copy of the repository in a folder of its own, whose experiment takes a minute or two."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from runtime.execution.graph import read_recorded

ROOT = Path(__file__).parents[1]
SMALL = {
    "prompts": {"per_category": 4},
    "sample": {"size": 48},
    "train": {"steps": 6, "batch_size": 8, "held_out": 16, "checkpoint_every": 2},
    "generate": {"num_inference_steps": 4, "batch_size": 4},
    "score": {"batch_size": 4},
    "analyze": {"prompts": 2, "gammas": [1.2], "thresholds": [801.65]},
    "report": {"bootstrap": 200, "grid_prompts": 2},
}
ARMS = ("baseline", "taca-free", "taca-r16")


class Copy:
    """A copy of the repository's own files, committed, with small parameters."""

    def __init__(self, root: Path):
        self.root = root
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in listed.splitlines():
            if (ROOT / name).exists() and name != "dvc.lock":
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        shutil.copy2(ROOT / "dvc.lock", root / "dvc.lock")
        self.edit(SMALL)
        params = self.params()
        params["arms"] = {name: params["arms"][name] for name in ARMS}
        params["adapters"] = {name: params["adapters"][name] for name in ("none", "taca-r16")}
        self.write(params)
        for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@example.org commit -qm start"):
            subprocess.run(["git", *command.split()], cwd=root, check=True)

    def params(self) -> dict:
        return yaml.safe_load((self.root / "params.yaml").read_text())

    def write(self, params: dict) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def edit(self, changes: dict) -> None:
        """Merges two levels of `changes` into params.yaml."""
        params = self.params()
        for section, values in changes.items():
            params[section].update(values)
        self.write(params)

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC_", "TACA_"))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return kept | {"PATH": path, "PYTHONPATH": str(self.root), "DVC_NO_ANALYTICS": "1", "HF_HUB_OFFLINE": "1"}

    def run(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, cwd=self.root, env=self.environment(), capture_output=True, text=True)

    def repro(self) -> str:
        done = self.run("dvc", "repro")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ran(self, output: str) -> list[str]:
        """The stages that a `dvc repro` ran."""
        return re.findall(r"Running stage '([^']+)'", output)

    def outs(self) -> dict[str, dict[str, str]]:
        return {stage: outs for stage, (_, outs) in read_recorded(self.root).items()}
