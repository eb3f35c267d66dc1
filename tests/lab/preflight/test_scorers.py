"""Weights of scorers: those that are not here have to be on their servers, before the first image is drawn."""

import pytest
import yaml

from compbench.scorers.interface import Prompt
from compbench.weights.registry import WeightFile
from lab.params import validate
from lab.preflight.ahead import Ahead
from lab.preflight.findings import Findings
from lab.preflight.scorers import check_scorers
from tests.compbench.weights.file_server import FileServer
from tests.published_clone import ROOT

PROMPT = Prompt(0, "a cat on the left of a dog", "spatial", objects=("cat", "dog"), relation="on the left of")


@pytest.fixture
def server():
    server = FileServer()
    server.files = {"net.pth": b"net" * 1000, "words.json": b"{}"}
    yield server
    server.close()


@pytest.fixture
def needs(server):
    """Files that are on the server, in place of the published ones."""
    return {"spatial": tuple(WeightFile(f"unidet/{name}", f"{server.url}/{name}") for name in server.files)}


@pytest.fixture
def params(tmp_path):
    document = yaml.safe_load((ROOT / "experiments/defaults.yaml").read_text())
    base = {"name": "tiny", "source": "hub", "repo": "some/base", "revision": "main", "variant": None}
    document["base"] = base | {"dtype": "float32"}
    document["generate"]["dtype"] = "float32"
    document["prompts"] |= {"source": "compbench", "parser": "spacy-3.6"}
    published = {"attribute": "blip-vqa", "spatial": "unidet", "clip": "openai", "weights": str(tmp_path / "weights")}
    document["score"] |= published
    return validate(document)


def looked(params, needs):
    found = Findings()
    check_scorers(params, Ahead(["score@baseline"]), [PROMPT], found, needs)
    return found


def test_weights_that_can_be_fetched_are_not_missing_and_take_space(params, needs, server):
    found = looked(params, needs)
    assert found.sentences == []
    assert [(each.what, each.size) for each in found.space] == [("unidet/net.pth", 6000), ("unidet/words.json", 4)]
    assert {method for method, *_ in server.seen} == {"HEAD"}


def test_weights_that_are_gone_are_named_with_the_command_that_takes_them_from_elsewhere(params, needs, server):
    del server.files["net.pth"]
    (said,) = looked(params, needs).sentences
    assert said.startswith(
        f"score: {server.url}/net.pth is not there (status 404): find net.pth elsewhere, save it as "
    )
    assert f"The command is `python -m compbench.weights spatial --weights {params.score.weights}`." in said


def test_weights_of_another_content_are_refused(params, needs, server, tmp_path):
    (tmp_path / "weights" / "unidet").mkdir(parents=True)
    for file in needs["spatial"]:
        (tmp_path / "weights" / file.path).write_bytes(b"something")
    known = {"spatial": tuple(WeightFile(file.path, file.url, "0" * 64) for file in needs["spatial"])}
    (said,) = looked(params, known).sentences
    assert f"{'0' * 64} is published for it" in said
    assert server.seen == []


def test_a_prompt_whose_parse_answers_no_question_is_named_before_images_are_drawn(params, needs):
    found = Findings()
    spoilt = Prompt(0, "a cat", "spatial", objects=("cat",))
    check_scorers(params, Ahead(["score@baseline"]), [spoilt], found, needs)
    assert len(found.sentences) == 1
    assert "a cat" in found.sentences[0]
