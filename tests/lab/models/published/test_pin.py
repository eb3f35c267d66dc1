"""A base is read by its pin: the files that it names, whole and unchanged, and no others."""

import json
import os
import shutil

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from lab.errors import LabError
from lab.models import load
from lab.models.published import hashes
from lab.models.published.complete import check_complete
from lab.models.published.pin import Pin, facts_of, find_pipeline
from lab.models.published.selection import INDEX, files_to_load
from tests.published import make_checkpoint
from tests.published.layout import LAYOUTS

WEIGHTS = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """Hashes are remembered in a folder of the test's own."""
    monkeypatch.setattr(hashes, "MEMORY", tmp_path / "home" / "hashes.json")


def pinned(folder, tmp_path):
    """The base's folder with the pin of `folder`."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = files_to_load(json.loads((folder / INDEX).read_text()), files, None)
    Pin(facts_of(folder, names), folder=str(folder)).write(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def folder(tmp_path):
    return make_checkpoint("sd35-medium", tmp_path / "sd35-medium")


@pytest.fixture
def base(folder, tmp_path):
    return pinned(folder, tmp_path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_pin_loads_as_the_pipeline_that_it_names(name, tmp_path):
    folder = make_checkpoint(name, tmp_path / name)
    base = pinned(folder, tmp_path)
    plain = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    for part, model in load.load_base(base, "float32").components.items():
        if isinstance(model, torch.nn.Module):
            assert same(model, getattr(plain, part))
    assert same(load.load_transformer(base), plain.transformer)
    encoders = load.load_encoders(base, "bfloat16")
    assert encoders.transformer is None
    assert (encoders.text_encoder.dtype, encoders.vae.dtype) == (torch.bfloat16, torch.float32)
    assert load.transformer_class(base) == type(plain.transformer).__name__
    assert load.part_config(base, "vae")["scaling_factor"] == plain.vae.config.scaling_factor


def same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key].cpu(), theirs[key]) for key in ours)


def test_a_variant_is_loaded_where_a_part_has_it(folder, tmp_path):
    weights = load_file(folder / "text_encoder" / "model.fp16.safetensors")
    weights["text_projection.weight"] += 1
    save_file(weights, folder / "text_encoder" / "model.fp16.safetensors", metadata={"format": "pt"})
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = files_to_load(json.loads((folder / INDEX).read_text()), files, "fp16")
    check_complete(folder, "fp16")
    Pin(facts_of(folder, names), folder=str(folder), variant="fp16").write(tmp_path / "base")

    loaded = load.load_base(tmp_path / "base", "float16").text_encoder.text_projection.weight
    assert torch.equal(loaded.cpu(), weights["text_projection.weight"])
    assert load.load_transformer(tmp_path / "base").config.num_layers == 4


def test_a_built_in_base_needs_no_pin(folder):
    assert find_pipeline(folder) == (folder, None)


def test_other_files_may_come_and_go(folder, base):
    (folder / "README.md").unlink()
    (folder / "notes.txt").write_text("mine")
    assert find_pipeline(base) == (folder, None)


def test_a_file_is_read_in_full_once_and_again_when_it_changed(folder, base):
    """What keeps size, time and inode passes for the same file, which only a remembered hash can do."""
    path = folder / WEIGHTS
    status = path.stat()
    overwrite(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    find_pipeline(base)

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(LabError, match="is not the file of the base that pin.json names: put the old one back, or let"):
        find_pipeline(base)


def overwrite(path):
    """Other bytes in the same file, as many as before."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))


def test_a_changed_and_a_missing_file_are_one_sentence(folder, base):
    kept = folder.parent / "kept"
    shutil.move(folder / WEIGHTS, kept)
    with pytest.raises(LabError) as caught:
        load.load_base(base, "float32")
    assert str(caught.value) == (
        f"{folder / WEIGHTS} of the base is missing: put the old one back, or let `dvc repro -f -s base` pin the folder "
        "as it is now."
    )
    (folder / WEIGHTS).write_bytes(kept.read_bytes() + b"more")
    with pytest.raises(LabError, match="is not the file of the base"):
        load.load_transformer(base)


def test_hashes_are_computed_where_none_can_be_remembered(folder, monkeypatch):
    expected = hashes.sha256(folder / WEIGHTS)
    monkeypatch.setattr(hashes, "MEMORY", folder / INDEX / "hashes.json")  # below a file nothing can be written
    assert hashes.sha256(folder / WEIGHTS) == expected


@pytest.mark.parametrize(
    ("file", "key", "named"),
    [
        ("transformer/diffusion_pytorch_model.safetensors", "proj_out.bias", "proj_out.bias of transformer"),
        ("text_encoder/model.safetensors", "text_model.final_layer_norm.bias", "text_model.final_layer_norm.bias of"),
        ("text_encoder_3/model-00002-of-00002.safetensors", "encoder.final_layer_norm.weight", "encoder.final_layer_"),
        (WEIGHTS, "encoder.conv_in.bias", "encoder.conv_in.bias of vae"),
    ],
)
def test_a_checkpoint_with_missing_keys_is_refused(folder, file, key, named):
    check_complete(folder, None)
    weights = load_file(folder / file)
    del weights[key]
    save_file(weights, folder / file, metadata={"format": "pt"})
    with pytest.raises(LabError) as caught:
        check_complete(folder, None)
    assert str(caught.value).startswith(f"The checkpoint has no {named}")
    assert "\n" not in str(caught.value)
