"""A captioner's files come from a server that speaks the hub's API, once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_server import TOKEN, HubServer
from tests.tiny_llava import save_tiny_llava

ROOT = Path(__file__).parents[4]
REPO = "some/llava"
# In a process of its own: the client reads its environment when it is imported.
PROGRAM = """
import json, sys
from pathlib import Path
from lab.data.captioning.weights import fetch_model
from lab.errors import LabError

try:
    print(json.dumps(str(fetch_model(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))))
except (LabError, ConnectionError, TimeoutError) as error:
    print(json.dumps({"error": type(error).__name__, "says": str(error)}))
"""


class Hub(HubServer):
    def __init__(self, folder, home):
        super().__init__()
        self.home, self.model = home, self.add(REPO, folder)

    def fetch(self, repo=REPO, revision=None, **environment):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
        own = {"HF_ENDPOINT": self.url, "HF_HOME": str(self.home), **environment}
        asked = [str(self.home / "answers.sqlite"), repo, revision or self.model.commit]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *asked], cwd=ROOT, env=kept | own, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = save_tiny_llava(tmp_path_factory.mktemp("llava"))
    (place / "README.md").write_text("not loaded")
    (place / "pytorch_model.bin").write_bytes(b"not loaded either")
    return place


@pytest.fixture
def hub(folder, tmp_path):
    server = Hub(folder, tmp_path)
    yield server
    server.close()


@pytest.mark.long
def test_a_model_is_fetched_once_and_found_without_the_hub(hub, folder):
    place = Path(hub.fetch())
    present = {path.name for path in place.iterdir()}
    assert present == {path.name for path in folder.iterdir()} - {"README.md", "pytorch_model.bin"}
    hub.close()
    assert hub.fetch() == hub.fetch(HF_HUB_OFFLINE="1") == str(place)
    hub.listen()


@pytest.mark.long
def test_what_is_missing_is_fetched_again_and_what_has_changed_is_said(hub, folder):
    place = Path(hub.fetch())
    shard = min(place.glob("*.safetensors"))
    shard.unlink()
    assert hub.fetch() == str(place)
    assert shard.read_bytes() == (folder / shard.name).read_bytes()
    shard.resolve().write_bytes(b"x" * shard.stat().st_size)
    said = hub.fetch()
    assert said["error"] == "LabError"
    assert "is not what the hub says it is: remove" in said["says"]


@pytest.mark.long
def test_what_the_hub_refuses_names_the_captioners_key(hub):
    assert "`caption.repo` is 'some/none', but the hub has none" in hub.fetch(repo="some/none")["says"]
    assert "`caption.revision` is 'ffff'" in hub.fetch(revision="ffff")["says"]
    hub.gated = True
    assert "accepted its licence" in hub.fetch()["says"]
    assert isinstance(hub.fetch(HF_TOKEN=TOKEN), str)


def test_without_safetensors_a_repository_is_refused(hub, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text("{}")
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"x")
    commit = hub.add("some/old", tmp_path / "old").commit
    assert "some/old has no weights in safetensors" in hub.fetch("some/old", commit)["says"]
