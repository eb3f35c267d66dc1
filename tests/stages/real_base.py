"""A profile of the paper from the hub to the report, on random checkpoints and adapters in the published layouts.

Each profile's test is a file of its own, since a file's tests run in one process.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mlflow.tracking import MlflowClient
from safetensors.torch import load_file, save_file

from compbench.tables import read_table
from lab.errors import LabError
from lab.models.load import load_base, load_transformer
from lab.params import profile
from lab.training.lora import WEIGHTS, add_lora, save_lora
from runtime.params import read_yaml
from tests.compbench.command.tiny_published import write_weights
from tests.conftest import STORE
from tests.hub_server import HubServer
from tests.lab.data.web import Web, encoded, file, picture, status
from tests.published import make_checkpoint
from tests.tiny_llava import save_tiny_llava

ROOT = Path(__file__).parents[2]
CLIP_TOKENS = 77
COPIED = ("compbench", "lab", "runtime", "stages", "taca", "dvc.yaml", "dvc.lock", "experiments/contrasts.yaml")
# What a machine without a GPU, and a checkpoint that takes 64 pixels, cannot have of the profile (a layer is 16 wide).
TINY = """
threads: 1
sample: {{min_side: 64, loopback_port: {port}}}
prompts: {{per_category: 2}}
caption: {{dtype: float32, max_tokens: 8}}
encode: {{max_sequence_length: 16, resolution: 64}}
train: {{compile: false, steps: 4, checkpoint_every: 2, preview: {{every: 2, images: 2, num_inference_steps: 2}}}}
adapters: {{taca-r16: {{rank: 4, alpha: 4}}, taca-r64: {{rank: 16, alpha: 16}}}}
generate: {{max_sequence_length: 16, height: 64, width: 64, compile: false, num_inference_steps: 4}}
score: {{device: cpu, dtype: float32}}
"""


@contextmanager
def answering() -> Iterator[Web]:
    """Who is asked for the sample's images, and has those alone that `write_addresses` calls good."""
    with Web() as server:
        server.answers = {"good": file(lambda number: encoded(picture(number))), "gone": status(404)}
        yield server


def run_to_the_report(name: str, hub: HubServer, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage of `make profile PROFILE=<name>-smoke`; what the profile says is as it is, but for sizes."""
    checkpoint = make_checkpoint(name, tmp_path / "checkpoint")
    repository = Repository(tmp_path, name, hub, web.port)
    params = repository.params
    hub.add(params["sample"]["repo"], write_addresses(tmp_path / "table", web.url))
    hub.add(params["base"]["repo"], checkpoint)
    llava = hub.add(params["caption"]["repo"], save_tiny_llava(tmp_path / "llava"))
    llava.commit = params["caption"]["revision"]
    files = [theirs["file"] for theirs in params["published_adapters"].values()]
    hub.add("ldiex/TACA", published_loras(checkpoint, tmp_path / "theirs", files))
    # Each of these programs lifts the offline mode by itself, before it loads the hub's client.
    repository.run("check", "base")
    repository.run("sample")
    repository.run("caption")
    told = repository.run(*(f"fetch:{theirs}" for theirs in params["published_adapters"]))
    theirs = [arm for arm, settings in params["arms"].items() if settings["adapter"] in params["published_adapters"]]
    ours = [arm for arm in params["arms"] if arm not in theirs]
    adapters = [f"train:{adapter}" for adapter in params["adapters"]]
    # What others trained is judged before anything is trained.
    repository.run("prompts", *drawn(theirs), "encode", *adapters, *drawn(ours), "analyze", "report")

    pin = json.loads((repository.root / "models/base" / name / "pin.json").read_text())
    loaded = {path for path in pin["files"] if path.endswith(".safetensors")}
    assert loaded
    assert not [path for path in loaded if "/" not in path], "a copy at the root, which no pipeline loads"
    sampled = read_table(repository.root / "data/sample/index.parquet")
    assert len(sampled) == params["sample"]["size"]
    assert all(row["source"].startswith(f"{web.url}/good/") for row in sampled)
    captions = read_table(repository.root / "data/captions.parquet")
    assert {row["model"] for row in captions} == {f"{params['caption']['repo']}@{llava.commit}"}
    assert [row["alt"] for row in captions] == [row["caption"] for row in sampled]
    images = {arm: images_of(repository.root, arm) for arm in params["arms"]}
    assert {len(found) for found in images.values()} == {4}
    assert len({tuple(found) for found in images.values()}) == len(images), "two arms drew the same"
    shown = {path.name for path in repository.root.rglob("previews/*.png")}
    assert shown == {f"step-0000{step}-{number}.png" for step in ("00", "02", "04") for number in (0, 1)}
    facts = json.loads((repository.root / "models/adapters/authors-r16/adapter.json").read_text())
    assert (facts["rank"], facts["alpha"]) == ([2], [2.0])
    assert facts["difference"].startswith("Against adapters trained here, it leaves out ")
    models = MlflowClient(STORE.format(root=repository.root)).search_logged_models(["1"])
    assert {model.name for model in models} >= set(params["published_adapters"])
    report = (repository.root / "results/report/index.html").read_text()
    assert f"authors-r16: {facts['difference']}\n" in told
    edition, parser = "edition before-2025-09, split train+val", "spacy 3.6.1 en_core_web_sm 3.6.0"
    for said in (facts["sha256"], facts["difference"], edition, parser, *params["arms"]):
        assert said in report

    change_a_byte(next((checkpoint / "transformer").glob("*.safetensors")), tmp_path / "home")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.chdir(repository.root)
    with pytest.raises(LabError, match="transformer/"):
        load_base(repository.root / "models/base" / name, "bfloat16")


class Repository:
    """A copy of what stages need, with the profile's parameters and the published scorers in tiny sizes."""

    def __init__(self, folder: Path, name: str, hub: HubServer, port: int):
        self.root = folder / "repository"
        self.root.mkdir()
        (self.root / "experiments").mkdir()
        for entry in COPIED:
            (self.root / entry).parent.mkdir(exist_ok=True)
            copy = shutil.copytree if (ROOT / entry).is_dir() else shutil.copy2
            copy(ROOT / entry, self.root / entry)
        tiny = folder / "tiny.yaml"
        tiny.write_text(TINY.format(port=port))
        experiments = ROOT / "experiments"
        overlays = experiments / "profiles" / f"{name}.yaml", experiments / "overlays" / "smoke.yaml", tiny
        (self.root / "params.yaml").write_text(profile.compose(*overlays))
        self.params = read_yaml(self.root / "params.yaml")
        weights = self.root / self.params["score"]["weights"]
        write_weights(weights, ROOT / "models/base/builtin/clip")
        lengthen_clip(weights / "clip")
        shutil.copy2(ROOT / ".gitignore", self.root / ".gitignore")
        # Committed, since a stage keeps all that git does not know with its run.
        author = ("-c", "user.name=t", "-c", "user.email=t@localhost")
        for command in (("init", "-q"), ("add", "-A"), (*author, "commit", "-qm", "all")):
            subprocess.run(["git", *command], cwd=self.root, check=True)
        self._env = os.environ | {
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.root}/mlflow.db",
            "HF_HOME": str(folder / "home"),
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "1",
            "TACA_CONTACT": "tests@example.org",
        }

    def run(self, *stages: str) -> str:
        """What the stages print."""
        command = [sys.executable, "-m", "tests.stages.several", *stages]
        env = self._env | {"PYTHONPATH": f"{self.root}:{ROOT}"}
        done = subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def lengthen_clip(folder: Path) -> None:
    """As many tokens as the published model reads: the benchmark's prompts are longer than the world's."""
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["context_length"] = CLIP_TOKENS
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "open_clip_model.safetensors")
    positions = tensors["positional_embedding"]
    tensors["positional_embedding"] = positions.repeat(CLIP_TOKENS // len(positions) + 1, 1)[:CLIP_TOKENS].contiguous()
    save_file(tensors, folder / "open_clip_model.safetensors")


def drawn(arms: list[str]) -> list[str]:
    return [f"{stage}:{arm}" for arm in arms for stage in ("generate", "score")]


def write_addresses(folder: Path, url: str) -> Path:
    """A table in ReLAION's columns, of which a part passes, and a part of that is dead."""
    folder.mkdir()
    rows = [
        {
            "url": f"{url}/{'good' if number % 3 else 'gone'}/{number}",
            "caption": f"a picture of {number} things",
            "width": 96 if number % 5 else 32,
            "height": 64,
            "similarity": 0.3 if number % 7 else 0.2,
            "punsafe": 0.0,
            "pwatermark": 0.1,
        }
        for number in range(300)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "part-0.parquet", row_group_size=50)
    return folder


def published_loras(checkpoint: Path, folder: Path, files: list[str]) -> Path:
    """A repository of LoRAs, each another one."""
    for seed, name in enumerate(files):
        transformer = load_transformer(checkpoint)
        with torch.no_grad():
            for parameter in add_lora(transformer, 2, 2, ["to_q"], seed=seed):
                parameter.add_(0.5 + seed)
        save_lora(transformer, folder / f"saved-{seed}", {})
        (folder / f"saved-{seed}" / WEIGHTS).rename(folder / name)
        (folder / f"saved-{seed}").rmdir()
    return folder


def images_of(root: Path, arm: str) -> list[bytes]:
    rows = read_table(root / "results/images" / arm / "index.parquet")
    return [(root / "results/images" / arm / row["path"]).read_bytes() for row in rows]


def change_a_byte(published: Path, home: Path) -> None:
    """Of the copy in the hub's cache."""
    copy = next(path for path in home.rglob(published.name) if path.parent.name == published.parent.name).resolve()
    copy.chmod(0o644)
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
