"""The committed base is what its parameters and code make, and nothing but `make base` trains it."""

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from runtime.params import read_yaml

ROOT = Path(__file__).parents[2]
TINY = {"threads": 1, "scenes": 16, "batch_size": 8, "width": 64, "layers": 2}
TINY |= {"autoencoder_steps": 2, "transformer_steps": 2, "clip_steps": 2}
PLACE = "models/base/builtin"


class Base:
    """A toy repository with the real stage and its code, and a base that was trained in it."""

    def __init__(self, toy):
        self.toy, self.folder = toy, toy.root / PLACE
        stage = read_yaml(ROOT / "dvc.yaml")["stages"]["base"]
        for dep in stage["deps"]:
            copy = shutil.copytree if (ROOT / dep).is_dir() else shutil.copy2
            if not (toy.root / dep).exists():
                (toy.root / dep).parent.mkdir(parents=True, exist_ok=True)
                copy(ROOT / dep, toy.root / dep)
        self.edit("dvc.yaml", lambda document: document["stages"].update(base=stage))
        self.edit("params.yaml", lambda document: document["base"].update(TINY))
        toy.repro("-s", "-f", "base", TACA_TRAIN_BASE="1")
        self.made = self.bytes()

    def edit(self, name, change):
        document = read_yaml(self.toy.root / name)
        change(document)
        with (self.toy.root / name).open("w") as file:
            YAML().dump(document, file)

    def bytes(self):
        return {path.relative_to(self.folder): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def untrained(self, *arguments):
        """Runs `dvc repro`; what it said."""
        before = len(self.toy.runs())
        done = self.toy.run("dvc", "repro", *arguments)
        metrics = [name for run in self.toy.runs()[before:] for name in run.data.metrics]
        assert not [name for name in metrics if "loss" in name], "it was trained"
        assert self.bytes() == self.made
        return done


@pytest.fixture
def base(toy):
    return Base(toy)


@pytest.mark.slow
def test_only_make_base_trains_it(base):
    assert base.made
    assert any("loss" in name for name in base.toy.runs()[-1].data.metrics)

    assert base.untrained("-f", "base").returncode == 0
    base.edit("params.yaml", lambda document: document.update(threads=1))
    assert "didn't change" in base.untrained("base").stdout

    base.edit("params.yaml", lambda document: document["base"].update(seed=1))
    for force in ([], ["-f"]):
        done = base.untrained(*force, "base")
        assert done.returncode != 0
        assert "models/base/builtin is not what its parameters and code make: `make base` trains it" in done.stderr
        assert "Traceback" not in done.stderr

    base.toy.repro("-s", "-f", "base", TACA_TRAIN_BASE="1")
    assert base.bytes() != base.made


@pytest.mark.slow
def test_an_edit_of_its_code_or_a_damaged_file_is_noticed(base):
    with (base.toy.root / "lab" / "world" / "render.py").open("a") as module:
        module.write("# says nothing\n")
    assert base.toy.run("dvc", "status", "-q", "base").returncode == 1
    assert "`make base` trains it" in base.untrained("base").stderr
    assert base.toy.run("dvc", "commit", "-f", "base").returncode == 0
    assert base.toy.run("dvc", "status", "-q", "base").returncode == 0

    weights = base.folder / "transformer" / "diffusion_pytorch_model.safetensors"
    base.made[weights.relative_to(base.folder)] = b"damaged"
    weights.write_bytes(b"damaged")
    assert "`make base` trains it" in base.untrained("base").stderr
