"""A published base through the real pipeline: `dvc repro` downloads and pins it, and all other stages read the pin."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.execution.graph import read_stages
from tests.hub_server import HubServer
from tests.published import make_checkpoint
from tests.published.layout import LAYOUTS
from tests.small_copy import Copy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DRAW = """
import sys
from pathlib import Path
import torch
from lab.models.load import load_base

pipe = load_base(Path(sys.argv[1]), "float32")
seed = torch.Generator().manual_seed(0)
image = pipe("a red cube", height=64, width=64, num_inference_steps=2, generator=seed, output_type="np").images
print(image.tobytes().hex()[:4000])
"""
PUBLISHED = {"attribute": "blip-vqa", "spatial": "unidet", "clip": "openai", "weights": "weights"}


class Clone(Copy):
    """A copy of the repository whose base is a published one; its hub's cache is empty at first."""

    def __init__(self, root: Path, base: dict, home: Path, endpoint: str):
        super().__init__(root)
        self.home, self.endpoint = home, endpoint
        params = self.params()
        params |= {"base": base, "score": params["score"] | PUBLISHED}
        params["encode"]["dtype"] = params["generate"]["dtype"] = base["dtype"]
        self.write(params)
        self.place = root / "models" / "base" / base["name"]

    def environment(self) -> dict[str, str]:
        """As `make` sets it: offline."""
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        return super().environment() | offline | {"HF_HOME": str(self.home), "HF_ENDPOINT": self.endpoint}

    def fill_in(self) -> None:
        """Makes something of every output that is not there, so that what a stage still misses no stage makes."""
        for stage in read_stages(self.root).values():
            for out in map(self.root.joinpath, stage.outs):
                if not out.exists():
                    (out if not out.suffix else out.parent).mkdir(parents=True, exist_ok=True)
                    (out if out.suffix else out / "something").touch()

    def pin(self) -> dict:
        (file,) = self.place.iterdir()
        assert file.name == "pin.json"
        return json.loads(file.read_text())

    def draw(self, folder: Path) -> subprocess.CompletedProcess:
        return self.run(sys.executable, "-c", DRAW, str(folder))

    def base(self, *options: str) -> subprocess.CompletedProcess:
        return self.run("dvc", "repro", *options, "base")


@pytest.fixture
def hub():
    server = HubServer()
    yield server
    server.close()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_base_from_the_hub_is_pinned_once_and_read_without_network(name, hub, tmp_path):
    folder = make_checkpoint(name, tmp_path / name)
    repo = hub.add(LAYOUTS[name].repo, folder)
    source = {"source": "hub", "repo": LAYOUTS[name].repo, "revision": "main", "variant": None, "dtype": "bfloat16"}
    clone = Clone(tmp_path / "clone", {"name": name, **source}, tmp_path / "home", hub.url)
    done = clone.base()
    assert done.returncode == 0, done.stdout + done.stderr

    pin = clone.pin()
    assert (pin["repo"], pin["commit"]) == (LAYOUTS[name].repo, repo.commit)
    assert pin["files"] == {
        file: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for file, content in repo.files.items()
        if file not in (*LAYOUTS[name].beside, *LAYOUTS[name].other) and ".fp16" not in file
    }
    assert "didn't change" in clone.base().stdout

    hub.close()
    drawn = clone.draw(clone.place)
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout == clone.draw(folder).stdout

    blob = next((clone.home / "hub").rglob("diffusion_pytorch_model*.safetensors")).resolve()
    blob.write_bytes(b"other weights")
    said = clone.draw(clone.place).stderr
    assert "is not the file of the base that pin.json names: remove" in said
    assert f"remove {blob}, and `dvc repro -f -s base` downloads it anew." in said
    blob.unlink()
    assert f"does not have all of {LAYOUTS[name].repo} at {repo.commit}: `dvc repro" in clone.draw(clone.place).stderr


def test_a_clone_whose_base_is_a_pin_misses_no_dependency(hub, tmp_path):
    """The pin travels in git; on the next machine weights come when `dvc repro -f -s base` is asked for them."""
    folder = make_checkpoint("sd35-medium", tmp_path / "sd35-medium")
    hub.add("some/base", folder)
    source = {"source": "hub", "repo": "some/base", "revision": "main", "variant": None, "dtype": "bfloat16"}
    clone = Clone(tmp_path / "clone", {"name": "tiny", **source}, tmp_path / "home", hub.url)
    assert clone.base("-q").returncode == 0
    clone.home = tmp_path / "another-home"
    clone.fill_in()

    for command in (["dvc", "status"], ["dvc", "repro", "--dry"]):
        done = clone.run(*command)
        assert done.returncode == 0, done.stderr
        said = (done.stdout + done.stderr).lower()
        assert "missing" not in said
        assert "does not exist" not in said
    assert "up to date" in clone.run("dvc", "status", "base").stdout
    refused = clone.draw(clone.place)
    assert "The hub's cache does not have all of some/base at" in refused.stderr
    assert clone.base("-q", "-f", "-s").returncode == 0
    assert clone.draw(clone.place).returncode == 0


def test_another_commit_of_the_branch_makes_another_pin(hub, tmp_path):
    source = {"source": "hub", "repo": "some/base", "revision": "main", "variant": None, "dtype": "bfloat16"}
    first = hub.add("some/base", make_checkpoint("flux-dev", tmp_path / "first", seed=0))
    clone = Clone(tmp_path / "clone", {"name": "tiny", **source}, tmp_path / "home", hub.url)
    assert clone.base("-q").returncode == 0
    assert clone.pin()["commit"] == first.commit

    second = hub.add("some/base", make_checkpoint("flux-dev", tmp_path / "second", seed=1))
    assert clone.base("-q", "-f", "-s").returncode == 0
    assert clone.pin()["commit"] == second.commit != first.commit


def test_a_base_in_a_folder_is_pinned_where_it_is(tmp_path):
    folder = make_checkpoint("flux-dev", tmp_path / "mine")
    base = {"name": "mine", "source": "folder", "folder": str(folder), "dtype": "bfloat16"}
    clone = Clone(tmp_path / "clone", base, tmp_path / "home", "http://127.0.0.1:9")
    assert clone.base("-q").returncode == 0
    assert clone.pin()["folder"] == str(folder)
    assert clone.draw(clone.place).stdout == clone.draw(folder).stdout


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (
            lambda index: index.update(transformer=["diffusers", "QwenImageTransformer2DModel"]),
            "base: The base's transformer is a QwenImageTransformer2DModel, and the experiment knows ",
        ),
        (
            lambda index: index.update(image_encoder=["transformers", "CLIPVisionModel"]),
            "base: model_index.json names ",
        ),
    ],
)
def test_what_no_stage_can_run_is_one_sentence_before_any_weight_comes(spoil, fault, hub, tmp_path):
    folder = make_checkpoint("flux-dev", tmp_path / "flux-dev")
    index = json.loads((folder / "model_index.json").read_text())
    spoil(index)
    (folder / "model_index.json").write_text(json.dumps(index))
    hub.add("some/base", folder)
    source = {"source": "hub", "repo": "some/base", "revision": "main", "variant": None, "dtype": "bfloat16"}
    clone = Clone(tmp_path / "clone", {"name": "tiny", **source}, tmp_path / "home", hub.url)
    done = clone.base("-q")
    assert done.returncode != 0
    assert fault in done.stderr
    assert "Traceback" not in done.stderr
    assert hub.asked == ["model_index.json"]
