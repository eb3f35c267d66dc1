"""`make publish`: what a stranger gets, and whether it draws what was drawn here."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from lab.generation.arm import Setup, arm_pipeline
from lab.models.load import load_transformer
from lab.publish.__main__ import main, publish
from lab.training.lora import WEIGHTS, add_lora, save_lora
from tests.tiny_base import tiny_base

ROOT = Path(__file__).parents[3]
BASE_MD5, DATA_MD5, OUT_MD5 = ("0123456789abcdef" * 2, "1123456789abcdef" * 2 + ".dir", "2123456789abcdef" * 2 + ".dir")


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository in which the adapter `mine` was trained on a tiny base."""
    transformer = load_transformer(tiny_base())
    parameters = add_lora(transformer, 4, 8, None, seed=3)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.05 * torch.randn_like(parameter))
    facts = {"gamma": "1.5", "threshold": "900.0", "rank": "4", "alpha": "8", "base": "tiny", "base_md5": BASE_MD5}
    save_lora(transformer, tmp_path / "models/adapters/mine", {f"taca.{key}": value for key, value in facts.items()})
    (tmp_path / "models/base").mkdir(parents=True)
    (tmp_path / "models/base/tiny").symlink_to(tiny_base())
    stage = {
        "deps": [{"path": "models/base/tiny", "md5": BASE_MD5}, {"path": "data/encoded", "md5": DATA_MD5}],
        "outs": [{"path": "models/adapters/mine", "md5": OUT_MD5}],
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"train@mine": stage}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(toy_template, repository) -> None:
    """Its MLflow store, in which no run made the adapter (making one takes a second)."""
    shutil.copy(toy_template / "mlflow.db", repository)


@pytest.mark.long
def test_the_cards_own_lines_draw_the_images_of_the_arm(repository, monkeypatch):
    """The usage in the card, run as it stands in the published folder, against the arm that stage `generate` draws."""
    command, environment = [sys.executable, "-m", "lab.publish", "mine", "out"], {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in Path("out").iterdir()} == {"README.md", WEIGHTS}
    lora, base = Path("models/adapters/mine").resolve(), tiny_base()
    monkeypatch.chdir("out")
    (code,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.S)
    names = {}
    # The card names the base as this repository does, from its root.
    exec(code.replace('"models/base/tiny"', repr(str(base))), names)
    with torch.no_grad():
        texts = names["pipe"].encode_prompt("a red circle on the left of a blue square", None, None)
    keys = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    embeddings = dict(zip(keys, texts, strict=True))
    images = {}
    for scope, gamma in (("early", 1.5), ("all", 1.5), ("early", 1.0)):
        with arm_pipeline(base, lora, Setup("float32", "none", False, "none"), gamma, 900.0, scope) as pipe:
            images[scope, gamma] = pipe(**embeddings, generator=torch.Generator().manual_seed(0)).images[0]
    assert names["image"].tobytes() == images["early", 1.5].tobytes()
    assert names["image"].tobytes() not in (images["all", 1.5].tobytes(), images["early", 1.0].tobytes())


@pytest.mark.usefixtures("store")
def test_the_card_is_in_the_hubs_format_and_says_where_the_adapter_is_from():
    publish("mine", Path("out"))
    card = ModelCard.load("out/README.md")
    assert card.data.library_name == "diffusers"
    assert card.data.pipeline_tag == "text-to-image"
    assert {"lora", "taca"} <= set(card.data.tags)
    assert card.data.base_model is None
    for fact in (
        "| gamma | 1.5 |",
        "| threshold | 900.0 |",
        "| rank | 4 |",
        "| alpha | 8 |",
        BASE_MD5,
        DATA_MD5,
        OUT_MD5,
    ):
        assert fact in card.text
    assert "to_q" in card.text
    assert "| precision of the base | float32 |" in card.text
    assert "forty times" in card.text


@pytest.mark.usefixtures("store")
def test_a_base_of_the_hub_is_named_with_its_commit():
    Path("models/base/tiny").unlink()
    Path("models/base/tiny").mkdir()
    pin = {"files": {}, "repo": "stabilityai/stable-diffusion-3.5-medium", "commit": "b940f670"}
    Path("models/base/tiny/pin.json").write_text(json.dumps(pin))
    publish("mine", Path("out"))
    card = ModelCard.load("out/README.md")
    assert card.data.base_model == pin["repo"]
    assert f'from_pretrained("{pin["repo"]}", revision="b940f670"' in card.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("other", "out"), "There is no trained adapter other here"),
        (("mine", "models"), "models is there already and not an empty folder"),
        (("mine",), "Say which adapter and where to"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_a_refusal_is_one_sentence_and_writes_nothing(monkeypatch, arguments, message):
    monkeypatch.setattr(sys, "argv", ["lab.publish", *arguments])
    with pytest.raises(SystemExit, match=f"^{message}[^\n]*$"):
        main()
    assert not Path("out").exists()
