"""`python -m lab.estimate`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lab.estimate.__main__ import main
from tests.hub_server import HubServer
from tests.published import make_checkpoint

ROOT = Path(__file__).parents[3]


@pytest.fixture
def estimate(monkeypatch, capsys):
    """Runs the command in the repository; what it prints."""

    def run(*arguments: str) -> str:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["estimate", *arguments])
        main()
        return capsys.readouterr().out

    return run


@pytest.mark.long
def test_params_yaml_is_estimated_without_a_profile_and_left_alone(estimate):
    before = (ROOT / "params.yaml").read_bytes()
    shown = estimate()
    stages = [line.split("|")[1].strip() for line in shown.splitlines() if line.startswith("| ")]
    assert {"encode", "train@taca-r16", "train@taca-r64", "generate@baseline", "all", "price"} <= set(stages)
    assert "train@none" not in stages
    assert not [stage for stage in stages if stage.startswith("score")]  # on the CPU here
    assert (ROOT / "params.yaml").read_bytes() == before


@pytest.mark.slow
def test_a_price_is_asked_for_in_place_of_the_known_ones(estimate):
    assert "USD" in estimate("default")
    assert "USD" not in estimate("default", "--price", "1.5")


def test_an_unknown_profile_is_one_sentence(estimate):
    with pytest.raises(SystemExit) as ended:
        estimate("nothing")
    assert str(ended.value).startswith("There is no profile 'nothing'")


@pytest.mark.slow
def test_of_a_base_on_the_hub_configurations_alone_are_fetched(tmp_path):
    """Though `make` forbids the network to all commands."""
    checkpoint, hub = make_checkpoint("sd35-medium", tmp_path / "checkpoint"), HubServer()
    hub.add("some/base", checkpoint)
    hub.sizes["vae/diffusion_pytorch_model.safetensors"] = 5_000_000_000
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["base"] = {"name": "some", "source": "hub", "repo": "some/base", "revision": "main", "variant": None}
    for section in ("base", "encode", "generate", "analyze"):
        params[section]["dtype"] = "bfloat16"
    params["encode"]["resolution"] = params["generate"]["height"] = params["generate"]["width"] = 64
    for adapter in params["adapters"].values():
        adapter["rank"] = min(adapter["rank"], 4)
    params["score"] |= {"attribute": "blip-vqa", "spatial": "unidet", "clip": "openai", "weights": "weights"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    environment |= {"PYTHONPATH": str(ROOT), "TRANSFORMERS_OFFLINE": "1"}
    command = [sys.executable, "-m", "lab.estimate"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    hub.close()
    assert done.returncode == 0, done.stderr
    assert hub.asked
    assert [name for name in hub.asked if not name.endswith(".json")] == []
    base = next(line for line in done.stdout.splitlines() if line.startswith("| base |"))
    assert base.split("|")[-2].strip() == "5.0"
