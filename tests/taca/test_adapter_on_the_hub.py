"""`TacaConfig.from_adapter` of a repository on a hub: the file's first bytes alone, by name, revision and token."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.hub_server import TOKEN, HubServer

ROOT = Path(__file__).parents[2]
NAME, OTHER, BARE = "pytorch_lora_weights.safetensors", "second.safetensors", "bare.safetensors"
# So many numbers that a request for the header does not bring them along.
WEIGHTS = {"x": torch.zeros(200_000)}


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(WEIGHTS, folder / NAME, metadata={"taca.gamma": "1.1", "taca.threshold": "950.0"})
    save_file(WEIGHTS, folder / OTHER, metadata={"taca.gamma": "1.3", "taca.threshold": "900.0"})
    save_file(WEIGHTS, folder / BARE)
    server = HubServer()
    server.add("somebody/adapter", folder)
    yield server
    server.close()


def from_adapter(hub: HubServer, home: Path, *calls: str, **environment: str) -> list[str]:
    """What each call gives, or the sentence with which it is refused, in a process that knows this hub alone."""
    code = (
        "import json\nfrom taca import TacaConfig\n"
        "def told(**options):\n"
        "    try:\n"
        "        config = TacaConfig.from_adapter('somebody/adapter', adapter='mine', **options)\n"
        "        return f'{config.gamma} {config.threshold} {config.adapter}'\n"
        "    except ValueError as error:\n"
        "        return str(error)\n"
        f"print(json.dumps([{', '.join(f'told({call})' for call in calls)}]))"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=kept | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_header_is_fetched_and_no_weight(hub, tmp_path):
    told = from_adapter(
        hub,
        tmp_path / "home",
        "",
        f"weight_name={OTHER!r}, revision='v1.0'",
        "weight_name='absent.safetensors'",
        "revision='no-such'",
        f"weight_name={BARE!r}",
        "local_files_only=True",
    )
    assert told[:2] == ["1.1 950.0 mine", "1.3 900.0 mine"]
    assert all("cannot be read" in sentence for sentence in (*told[2:4], told[5]))
    assert "pass them, such as TacaConfig(gamma=1.2, threshold=970.0" in told[4]
    assert 0 < hub.sent < 4 * len(WEIGHTS["x"])


def test_a_gated_repository_is_read_with_its_token_alone(hub, tmp_path):
    hub.gated = True
    refused, told = from_adapter(hub, tmp_path / "home", "", f"token={TOKEN!r}")
    assert "cannot be read (GatedRepoError)" in refused
    assert told == "1.1 950.0 mine"
    assert "cannot be read" in from_adapter(hub, tmp_path / "home", f"token={TOKEN!r}", HF_HUB_OFFLINE="1")[0]


def test_a_hub_that_does_not_answer_is_as_none(hub, tmp_path):
    """What was loaded from it before is read from the cache, as weights are; the rest is refused."""
    home, away = tmp_path / "home", {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert "cannot be read" in from_adapter(hub, home, "", **away)[0]
    load = [sys.executable, "-c", f"import huggingface_hub as h; h.hf_hub_download('somebody/adapter', {NAME!r})"]
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    subprocess.run(load, env=os.environ | own, check=True, capture_output=True)
    assert from_adapter(hub, home, "", **away) == ["1.1 950.0 mine"]
