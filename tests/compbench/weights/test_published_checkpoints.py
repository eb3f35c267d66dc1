"""Every published checkpoint: read without running it, every key accounted for, converted once."""

import io
import pickle
import re
import shutil

import pytest
import torch
from safetensors import safe_open

from compbench.errors import CompbenchError
from tests.compbench.tiny_checkpoints import PUBLISHED, Published, published_unidet


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request) -> Published:
    torch.manual_seed(0)
    return PUBLISHED[request.param]()


@pytest.fixture
def converted(published, tmp_path):
    """A conversion whose original lies beside it."""
    path = published.write(tmp_path).with_suffix(".safetensors")
    published.load(tmp_path)
    return path


def refused(published: Published, weights) -> str:
    """The sentence that loading ends with."""
    with pytest.raises(CompbenchError) as error:
        published.load(weights)
    return str(error.value)


def command(published: Published, weights) -> str:
    return f"run `python -m compbench.weights {published.category} --weights {weights}`."


def test_weights_arrive_as_they_were_from_the_original_and_from_the_conversion(published, tmp_path):
    path = published.write(tmp_path)
    for _ in ("original", "conversion"):
        state = published.load(tmp_path).state_dict()
        assert all(torch.equal(tensor, published.tensors[name]) for name, tensor in state.items())
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.stem}.safetensors"]


def test_a_loaded_model_neither_trains_nor_drops(published, converted, tmp_path):
    model = published.load(tmp_path)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_conversion_happens_once_and_then_needs_no_original(published, converted, tmp_path):
    made = converted.stat().st_mtime_ns
    published.load(tmp_path)
    assert converted.stat().st_mtime_ns == made
    (tmp_path / published.file).unlink()
    assert published.load(tmp_path).state_dict()


def test_a_changed_original_is_converted_again(published, converted, tmp_path):
    """Even one of the same size."""
    changed = published.tensors[published.bias] + 1
    published.write(tmp_path, published.tensors | {published.bias: changed})
    assert torch.equal(published.load(tmp_path).state_dict()[published.bias], changed)
    with safe_open(converted, "pt") as file:
        assert re.fullmatch("[0-9a-f]{64}", file.metadata()["source_sha256"])


def test_half_precision_becomes_float32(published, tmp_path):
    published.write(tmp_path, {name: tensor.half() for name, tensor in published.tensors.items()})
    state = published.load(tmp_path).state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


def test_tensors_that_share_memory_in_the_file_are_kept_apart(published, tmp_path):
    """As parts of one larger tensor; safetensors refuses to write those."""
    name, size = published.bias, published.tensors[published.bias].numel()
    other = next(n for n, t in published.tensors.items() if n != name and t.shape == (size,))
    both = torch.arange(2.0 * size)
    published.write(tmp_path, published.tensors | {name: both[:size], other: both[size:]})
    assert published.load(tmp_path).state_dict()[name].tolist() == both[:size].tolist()


@pytest.mark.long
def test_missing_extra_and_misshapen_tensors_are_named(published, tmp_path):
    tensors = dict(published.tensors)
    tensors["teacher.weight"] = torch.zeros(1)
    shape = tuple(tensors.pop(published.bias).shape)
    path = published.write(tmp_path, tensors)
    assert refused(published, tmp_path).startswith(f"{path} does not hold the tensors of ")
    assert f": it lacks {published.bias}; has besides teacher.weight; delete it" in refused(published, tmp_path)
    published.write(tmp_path, published.tensors | {published.bias: torch.zeros(3, 7)})
    said = refused(published, tmp_path)
    assert f": it has in another shape {published.bias} (3, 7) instead of {shape}; delete it and " in said
    assert said.endswith(command(published, tmp_path))
    assert not path.with_suffix(".safetensors").exists()


def test_extra_tensors_are_named_and_left_out_if_that_is_asked_for(published, tmp_path, caplog):
    path = published.write(tmp_path, published.tensors | {"teacher.weight": torch.zeros(1), "queue": torch.zeros(2)})
    with pytest.raises(CompbenchError) as error:
        published.load(tmp_path)
    assert "it has besides teacher.weight, queue; if the model works without them, allow extra" in str(error.value)
    assert error.value.argument == "extra_tensors"
    state = published.load(tmp_path, extra=True).state_dict()
    assert all(torch.equal(tensor, published.tensors[name]) for name, tensor in state.items())
    assert f"{path}: left out what" in caplog.text
    assert "teacher.weight, queue" in caplog.text


def test_what_a_checkpoint_lacks_is_refused_with_extra_tensors_allowed(published, tmp_path):
    tensors = {name: tensor for name, tensor in published.tensors.items() if name != published.bias}
    published.write(tmp_path, tensors | {"teacher.weight": torch.zeros(1)})
    with pytest.raises(CompbenchError, match=f"it lacks {published.bias}; delete it") as error:
        published.load(tmp_path, extra=True)
    assert error.value.argument is None


def test_a_conversion_of_another_model_is_refused(published, converted, tmp_path):
    other = next(make() for make in PUBLISHED.values() if make().file != published.file)
    original = other.write(tmp_path)
    other.load(tmp_path)
    shutil.copy(original.with_suffix(".safetensors"), converted)
    (tmp_path / published.file).unlink()
    assert re.search(r"it lacks .+ and \d+ more; has besides .+ and \d+ more", refused(published, tmp_path))


class Code:
    def __reduce__(self):
        return print, ("executed",)


def saved(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


BAD = {
    "nothing": b"",
    "a web page": b"<html>Too many requests</html>",
    "code": pickle.dumps({"model": Code()}, protocol=2),
    "code in an archive": saved({"model": Code()}),
    "a list": saved([1, 2]),
    "an empty dictionary under another key": saved({"other": {}}),
    "no tensors": saved({"model": {"a": 1}}),
}


@pytest.mark.parametrize("content", BAD)
def test_a_file_that_is_no_checkpoint_is_refused_and_runs_nothing(published, tmp_path, content, capsys):
    path = published.write(tmp_path)
    path.write_bytes(BAD[content])
    said = refused(published, tmp_path)
    assert said.startswith(f"{path} is not the published checkpoint of ")
    assert said.endswith(f": delete it and {command(published, tmp_path)}")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("keep", [100, 0.5, -1000])
def test_a_file_cut_short_is_refused(published, tmp_path, keep):
    path = published.write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    assert "is not the published checkpoint" in refused(published, tmp_path)


def test_a_file_of_the_former_format_cut_anywhere_is_refused(tmp_path):
    """PyTorch's before 1.6, as files of these years can be in: not an archive, and read from its beginning."""
    published = published_unidet()
    path = published.write(tmp_path)
    content = {"model": {published.bias: published.tensors[published.bias]}}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for keep in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:keep])
        assert "is not the published checkpoint" in refused(published, tmp_path)


@pytest.mark.parametrize("with_original", [True, False])
def test_a_damaged_conversion_is_named(published, converted, tmp_path, with_original):
    converted.write_bytes(converted.read_bytes()[:1000])
    if not with_original:
        (tmp_path / published.file).unlink()
    said = refused(published, tmp_path)
    assert said.startswith(f"{converted} cannot be read (")
    assert said.endswith(f": delete it and {command(published, tmp_path)}")


def test_no_file_at_all_is_named_with_the_command_that_fetches_it(published, tmp_path):
    assert refused(published, tmp_path) == f"{tmp_path / published.file} is missing: {command(published, tmp_path)}"


def test_names_of_training_on_several_gpus_are_understood(published, tmp_path):
    """Every name begins with `module.` there."""
    published.write(tmp_path, {f"module.{name}": tensor for name, tensor in published.tensors.items()})
    state = published.load(tmp_path).state_dict()
    assert torch.equal(state[published.bias], published.tensors[published.bias])
