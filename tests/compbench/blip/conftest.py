"""A reduced-width model in the published file's layout, with a vocabulary of BERT's size."""

import pytest

from benchmarks.blip_layout import random_checkpoint
from benchmarks.plain_blip import PlainBlip
from compbench.scorers.blip.checkpoint import load_model
from compbench.scorers.blip.tokenizer import QuestionTokenizer
from tests.compbench.blip.tiny_blip import TINY, write_blip

WORDS = ("a", "the", "green", "blue", "bench", "bowl", "##y", "##s", "bo", "##wler", "?", "-", ",", "'", "left", "e")


@pytest.fixture(scope="session")
def config():
    return TINY


@pytest.fixture(scope="session")
def tensors():
    """What lies under the key `model`."""
    return random_checkpoint(TINY)


@pytest.fixture(scope="session")
def plain(tensors):
    return PlainBlip(tensors, TINY)


@pytest.fixture(scope="session")
def weights(tmp_path_factory, tensors):
    """The folder of all weights, as fetched."""
    folder = tmp_path_factory.mktemp("weights")
    write_blip(folder, WORDS, tensors)
    return folder


@pytest.fixture(scope="session")
def model(weights):
    return load_model(weights, TINY)


@pytest.fixture(scope="session")
def tokenizer(weights):
    return QuestionTokenizer.from_file(weights / "blip" / "vocab.txt")
