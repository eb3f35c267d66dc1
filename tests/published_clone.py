"""A copy of the repository whose experiment rests on a published base, and a process that looks what it lacks."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from lab.models.load import load_transformer
from lab.training.lora import WEIGHTS, add_lora, save_lora
from tests.hub_server import HubServer
from tests.published import make_checkpoint

ROOT = Path(__file__).parents[1]
COPIED = ("compbench", "flows", "lab", "runtime", "stages", "taca", "dvc.yaml", ".dvc/config", ".dvcignore")
BASE, ADAPTER = "some/base", "some/adapter"
# The hub's client reads its environment when it is imported, so it is in a process of its own; one for all looks, since
# its imports take seconds.
PROGRAM = """
import json, os, sys
from pathlib import Path
from lab.params import load
from lab.preflight import missing
from lab.preflight.__main__ import main
from runtime.errors import StageError

before = dict(os.environ)
for line in sys.stdin:
    os.environ |= (asked := json.loads(line))["environment"]
    try:
        if "arguments" in asked:
            sys.argv[1:] = asked["arguments"]
            found = main()
        else:
            found = missing(load(), Path.cwd(), asked["targets"])
    except StageError as error:
        found = [str(error)]
    except SystemExit as end:
        found = end.code
    os.environ.clear()
    os.environ |= before
    print(json.dumps(found), flush=True)
os._exit(0)  # the interpreter's own end takes seconds
"""


def lora(checkpoint: Path, folder: Path, metadata: dict) -> bytes:
    """An adapter's file as others publish them."""
    transformer = load_transformer(checkpoint)
    add_lora(transformer, 2, 2, ["to_q"], seed=5)
    save_lora(transformer, folder, metadata)
    return (folder / WEIGHTS).read_bytes()


class Clone:
    """The repository at `root`, a hub with base and adapter, and scorers' weights; nothing is missing."""

    def __init__(self, root: Path):
        self.root, self.hub = root / "repository", HubServer()
        self.checkpoints = {name: make_checkpoint(name, root / name) for name in ("sd35-medium", "flux-dev")}
        self.hub.add(BASE, self.checkpoints["sd35-medium"])
        self.publish(self.checkpoints["sd35-medium"], {})
        for entry in COPIED:
            (self.root / entry).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / entry).is_dir() else shutil.copy2
            copy(ROOT / entry, self.root / entry)
        for name in ("Unified_learned_OCIM_RS200_6x+2x.pth", "learned_mAP+M.json"):
            (self.root / "weights" / "unidet").mkdir(parents=True, exist_ok=True)
            (self.root / "weights" / "unidet" / name).write_text("nobody has published a hash of it")
        self.params = self.small_params()
        subprocess.run(["git", "init", "-q"], cwd=self.root, check=True)
        self.process = None

    def small_params(self) -> dict:
        params = yaml.safe_load((ROOT / "experiments/defaults.yaml").read_text())
        params["base"] = {"name": "tiny", "source": "hub", "repo": BASE, "revision": "main", "variant": None}
        params["base"]["dtype"] = "bfloat16"
        params["prompts"] |= {
            "source": "compbench",
            "parser": "spacy-3.6",
            "per_category": 3,
            "categories": ["spatial"],
        }
        params["sample"]["size"] = 12
        params["encode"] |= {"dtype": "bfloat16", "max_sequence_length": 16, "resolution": 64}
        params["train"] |= {"steps": 2, "precision": "bf16", "mixed_precision": "bf16"}
        params["analyze"] |= {"dtype": "bfloat16", "adapter": "small"}
        params["generate"] |= {"height": 64, "width": 64, "max_sequence_length": 16, "dtype": "bfloat16"}
        params["generate"]["other_precision"] = False
        params["adapters"] = {"small": {"rank": 4, "alpha": 4, "gamma": 1.2, "threshold": 970.0}}
        theirs = {"repo": ADAPTER, "revision": "main", "file": "lora.safetensors", "sha256": None}
        params["published_adapters"] = {"theirs": theirs}
        params["generate"]["images_per_prompt"] = 1
        drawn = {**params["arms"]["taca-r16"], "threshold": 970.0, "images_per_prompt": None}
        params["arms"] = {name: {**drawn, "adapter": name} for name in ("small", "theirs")}
        params["report"]["baseline"] = "small"
        params["score"] |= {"attribute": "blip-vqa", "spatial": "unidet", "clip": "openai", "weights": "weights"}
        return params

    def publish(self, checkpoint: Path, metadata: dict) -> str:
        """Puts another adapter on the hub; its sha256."""
        folder = self.root.parent / "adapter"
        shutil.rmtree(folder, ignore_errors=True)
        content = lora(checkpoint, folder / "made", metadata)
        shutil.rmtree(folder / "made")
        (folder / "lora.safetensors").write_bytes(content)
        self.hub.add(ADAPTER, folder)
        return hashlib.sha256(content).hexdigest()

    def environment(self) -> dict[str, str]:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_", "TACA_"))
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.root.parent / "home"), "PYTHONPATH": str(self.root)}
        return kept | own | {"PATH": path, "DVC_NO_ANALYTICS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def missing(self, *targets: str, changes: dict | None = None, **environment: str) -> list[str]:
        """What is missing with `changes` merged into sections of the parameters, and variables set."""
        params = {
            key: {**value, **(changes or {}).get(key, {})} for key, value in self.params.items() if key != "threads"
        }
        (self.root / "params.yaml").write_text(yaml.safe_dump({"threads": 2, **params}, sort_keys=False))
        return self._ask(targets=targets, environment=environment)

    def status(self, *arguments: str) -> str | int | None:
        """What `python -m lab.preflight` with these arguments ends with: a sentence that it prints, or a status."""
        return self._ask(arguments=arguments, environment={})

    def _ask(self, **question: object) -> object:
        if self.process is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            command = [sys.executable, "-c", PROGRAM]
            self.process = subprocess.Popen(command, cwd=self.root, env=self.environment(), **pipes)
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        env = self.environment() | environment
        return subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True)

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
        self.hub.close()
