"""The hub's own client fills its cache from a server that speaks the hub's API; what goes wrong is one sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_server import TOKEN, HubServer
from tests.published import make_checkpoint

ROOT = Path(__file__).parents[4]
REPO = "some/base"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
# In a process of its own: the client reads its environment when it is imported.
PROGRAM = """
import json, sys
from lab.errors import LabError
from lab.models.published.hub import download, find_repository, read_index
from lab.models.published.selection import files_to_load

try:
    repository = find_repository(sys.argv[1], sys.argv[2])
    names = files_to_load(read_index(repository), repository.files, None)
    place = download(repository, names)
    print(json.dumps({"commit": repository.commit, "names": names, "place": str(place)}))
except (LabError, ConnectionError, TimeoutError) as error:
    print(json.dumps({"error": type(error).__name__, "says": str(error)}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_checkpoint("sd35-medium", tmp_path_factory.mktemp("published") / "sd35-medium")


class Hub(HubServer):
    """The server with a base, and a client whose cache is empty at first."""

    def __init__(self, folder, home):
        super().__init__()
        self.home, self.base = home, self.add(REPO, folder)

    def download(self, revision="main", repo=REPO, **environment):
        """What the program printed, which says nothing else."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
        own = {"HF_ENDPOINT": self.url, "HF_HOME": str(self.home), **environment}
        command = [sys.executable, "-c", PROGRAM, repo, revision]
        done = subprocess.run(command, cwd=ROOT, env=kept | own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refusal(self, kind, **arguments):
        """The one sentence that ends a download."""
        said = self.download(**arguments)
        assert said["error"] == kind
        assert "\n" not in said["says"]
        return said["says"]


@pytest.fixture
def hub(folder, tmp_path):
    server = Hub(folder, tmp_path / "home")
    yield server
    server.close()


@pytest.mark.long
def test_what_the_pipeline_loads_is_downloaded_once_and_nothing_else(hub, folder):
    said = hub.download()
    assert said["commit"] == hub.base.commit
    assert set(hub.asked) <= set(said["names"])
    present = {path.relative_to(said["place"]).as_posix() for path in Path(said["place"]).rglob("*") if path.is_file()}
    assert present == set(said["names"])
    assert all((Path(said["place"]) / name).read_bytes() == (folder / name).read_bytes() for name in present)

    hub.asked.clear()
    assert hub.download(hub.base.commit) == hub.download("v1.0") == said
    assert hub.asked == []


@pytest.mark.long
def test_a_gate_says_where_to_accept_the_licence(hub):
    hub.gated = True
    for token in ({}, {"HF_TOKEN": "hf_of_someone_else"}):
        assert hub.refusal("LabError", **token) == (
            f"{REPO} is given to those alone who have accepted its licence: accept it at {hub.url}/{REPO}, then log in "
            "with `hf auth login`, or set HF_TOKEN to a token that may read it."
        )
    assert hub.asked == []
    assert hub.download(HF_TOKEN=TOKEN)["commit"] == hub.base.commit


@pytest.mark.long
def test_a_revision_and_a_repository_that_are_gone_are_named(hub):
    assert hub.refusal("LabError", revision="0" * 40) == (
        f"`base.revision` is '{'0' * 40}', but {REPO} has no such branch, tag or commit: {hub.url}/{REPO}/commits lists "
        "them."
    )
    assert hub.refusal("LabError", repo="some/bsae").startswith(
        "`base.repo` is 'some/bsae', but the hub has none of that name, or it is private: correct it, or log in with"
    )


def test_a_repository_without_a_pipeline_is_refused(hub, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "lora.safetensors").write_bytes(b"weights")
    hub.add("some/adapter", tmp_path / "adapter")
    assert hub.refusal("LabError", repo="some/adapter") == (
        "some/adapter has no model_index.json, so it is no pipeline of diffusers: choose one as `base.repo`."
    )


def test_too_little_disk_is_said_before_any_weight_comes(hub):
    hub.sizes[WEIGHTS] = 10**15
    said = hub.refusal("LabError")
    assert said.startswith(f"{REPO} takes 1000000.0 GB, and {hub.home}/hub has ")
    assert said.endswith(" GB free: free some space, or set HF_HOME to a folder on a larger disk.")
    assert hub.asked == ["model_index.json"]


@pytest.mark.long
@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer/vocab.json"])
def test_a_file_that_is_not_what_the_hub_says_is_named(hub, name):
    """Of the weights the hub says the SHA-256, of other files what git calls them; the client compares sizes alone."""
    content = hub.base.files[name]
    hub.contents[name] = content[:-1] + bytes([content[-1] ^ 1])
    said = hub.refusal("LabError")
    assert f"/{name} is not what the hub says it is: remove {hub.home}/hub/" in said

    hub.contents.clear()
    blob = said.partition("remove ")[2].partition(",")[0]
    Path(blob).unlink()
    assert hub.download()["commit"] == hub.base.commit


@pytest.mark.long
def test_a_file_that_is_too_short_is_a_fault_that_passes(hub):
    hub.contents[WEIGHTS] = hub.base.files[WEIGHTS][:-5]
    assert hub.refusal("ConnectionError").startswith(f"The hub sent a file of {REPO} that is not whole (Consistency")
    hub.contents.clear()
    assert hub.download()["commit"] == hub.base.commit


@pytest.mark.long
def test_a_transfer_that_is_cut_goes_on_where_it_was(hub, folder):
    hub.cuts[WEIGHTS] = 1
    place = Path(hub.download()["place"])
    assert hub.asked.count(WEIGHTS) == 2
    assert (place / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_a_connection_that_is_always_cut_is_a_fault_that_passes(hub):
    hub.cuts[WEIGHTS] = 99
    assert hub.refusal("ConnectionError").startswith(f"The hub cannot be reached for {REPO} (peer closed connection")


@pytest.mark.long
def test_a_hub_that_does_not_answer_is_a_fault_that_passes(hub):
    hub.status = 503
    assert hub.refusal("ConnectionError").startswith(f"The hub answers with status 503 for {REPO}: see that")
    hub.close()
    assert hub.refusal("ConnectionError").startswith(f"The hub cannot be reached for {REPO} (")
