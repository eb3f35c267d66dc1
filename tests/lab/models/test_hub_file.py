"""What an adapter's file says of itself before it is loaded."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from lab.errors import LabError
from lab.models.hub_file import check_trained_on, read_local


@pytest.fixture
def path(tmp_path):
    save_file({"a.weight": torch.zeros(2, 3)}, tmp_path / "lora.safetensors", metadata={"taca.base": "flux-dev"})
    return tmp_path / "lora.safetensors"


def test_the_header_of_a_file_that_is_here(path):
    found, content = read_local(path, "theirs"), path.read_bytes()
    assert (found.size, found.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert found.shapes == {"a.weight": (2, 3)}
    assert found.metadata == {"taca.base": "flux-dev"}


@pytest.mark.parametrize("spoil", [lambda content: b"", lambda content: content[:-1], lambda content: b"<html>" * 9])
def test_what_is_no_whole_file_is_one_sentence(path, spoil):
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(LabError, match=r"The adapter theirs has the file .*, which is no whole safetensors file") as said:
        read_local(path, "theirs")
    assert "\n" not in str(said.value)


def test_an_adapter_trained_here_is_for_its_base_alone(path):
    metadata = read_local(path, "theirs").metadata
    check_trained_on("theirs", metadata, "flux-dev")
    check_trained_on("theirs", {}, "flux-dev")
    with pytest.raises(LabError, match="The adapter theirs was trained on the base flux-dev, but `base.name` is other"):
        check_trained_on("theirs", metadata, "other")
