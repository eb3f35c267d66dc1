"""A reduced-width model in the published file's layout, with a vocabulary of BERT's size."""

import pytest
import torch

from benchmarks.blip_vqa import PlainBlip, random_checkpoint, vocabulary_lines
from taca.scoring.blip.checkpoint import NAME, load_model
from taca.scoring.blip.config import BlipConfig
from taca.scoring.blip.tokenizer import QuestionTokenizer

TINY = BlipConfig(
    image_size=64,
    hidden_size=48,
    num_attention_heads=4,
    num_hidden_layers=2,
    intermediate_size=96,
    max_position_embeddings=40,
)
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
    (folder / "blip").mkdir()
    torch.save({"model": tensors}, folder / "blip" / f"{NAME}.pth")
    (folder / "blip" / "vocab.txt").write_text("\n".join(vocabulary_lines(WORDS)) + "\n")
    return folder


@pytest.fixture(scope="session")
def model(weights):
    return load_model(weights / "blip", TINY)


@pytest.fixture(scope="session")
def tokenizer(weights):
    return QuestionTokenizer.from_file(weights / "blip" / "vocab.txt")
