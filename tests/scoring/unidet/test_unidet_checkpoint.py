"""Checkpoints as published: read without running them, every key accounted for, kept as safetensors."""

import pickle

import pytest
import torch
from random_unidet import VARIANTS, randomised

from taca.errors import StageError
from taca.scoring.unidet.checkpoint import load_model
from taca.scoring.unidet.model import UniDet

VARIANT = VARIANTS["r50"]


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """A state dict with what detectron2 writes besides."""
    tensors = randomised(UniDet(VARIANT)).state_dict()
    extras = {
        "pixel_mean": torch.zeros(3, 1, 1),
        "pixel_std": torch.ones(3, 1, 1),
        "backbone.fpn_output3.norm.num_batches_tracked": torch.tensor(3),
        "proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(9, 4),
    }
    return dict(tensors) | extras


def write(path, tensors) -> None:
    torch.save({"model": tensors, "iteration": 7}, path)


def pixels() -> torch.Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 255


def test_a_published_checkpoint_gives_its_model(tmp_path, published):
    path = tmp_path / "model.pth"
    write(path, published)
    expected = randomised(UniDet(VARIANT))(pixels())[0]
    for _ in ("from the .pth", "from the .safetensors"):
        found = load_model(VARIANT, path)(pixels())[0]
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pth", "model.safetensors"]


def test_the_converted_file_suffices(tmp_path, published):
    path = tmp_path / "model.pth"
    write(path, published)
    load_model(VARIANT, path)
    path.unlink()
    assert load_model(VARIANT, path)(pixels())


def test_another_checkpoint_is_converted_again(tmp_path, published):
    path = tmp_path / "model.pth"
    write(path, published)
    before = load_model(VARIANT, path).backbone.top_block.p7.bias
    write(path, published | {"backbone.top_block.p7.bias": before + 1})
    assert torch.equal(load_model(VARIANT, path).backbone.top_block.p7.bias, before + 1)


def test_half_precision_tensors_are_read_as_float32(tmp_path, published):
    path = tmp_path / "model.pth"
    write(path, {key: tensor.half() for key, tensor in published.items()})
    assert {tensor.dtype for tensor in load_model(VARIANT, path).state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("backbone.top_block.p7.bias"), r"it lacks backbone\.top_block\.p7\.bias;"),
        (lambda tensors: tensors.update({"teacher.weight": torch.zeros(1)}), r"it has besides teacher\.weight;"),
        (
            lambda tensors: tensors.update({"roi_heads.box_head.0.fc1.bias": torch.zeros(3)}),
            r"it has in another shape roi_heads\.box_head\.0\.fc1\.bias;",
        ),
    ],
)
def test_a_checkpoint_with_other_tensors_is_refused_by_their_names(tmp_path, published, change, message):
    tensors = dict(published)
    change(tensors)
    write(tmp_path / "model.pth", tensors)
    with pytest.raises(StageError, match=message):
        load_model(VARIANT, tmp_path / "model.pth")
    assert not (tmp_path / "model.safetensors").exists()


def test_the_other_variants_checkpoint_is_refused(tmp_path, published):
    write(tmp_path / "model.pth", published)
    with pytest.raises(StageError, match=r"it lacks .+ and \d+ more; it has besides .+"):
        load_model(VARIANTS["rs200"], tmp_path / "model.pth")


class Harmful:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize("content", ["truncated", "text", "harmful", "no model", "no tensors"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, published, content, capsys):
    path = tmp_path / "model.pth"
    write(path, published)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:2000])
    elif content == "text":
        path.write_text("<html>Too many requests</html>")
    elif content == "harmful":
        path.write_bytes(pickle.dumps({"model": Harmful()}, protocol=2))
    else:
        torch.save({} if content == "no model" else {"model": {"a": 1}}, path)
    with pytest.raises(StageError, match="is not UniDet's published checkpoint"):
        load_model(VARIANT, path)
    assert "ran" not in capsys.readouterr().out


def test_a_damaged_converted_file_is_named(tmp_path, published):
    path = tmp_path / "model.pth"
    write(path, published)
    path.with_suffix(".safetensors").write_bytes(b"half")
    with pytest.raises(StageError, match=r"model\.safetensors cannot be read"):
        load_model(VARIANT, path)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(StageError, match=r"model\.pth are missing: fetch them first"):
        load_model(VARIANT, tmp_path / "model.pth")
