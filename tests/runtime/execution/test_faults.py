"""A full disk is recognised however it is worded; other errors stay what they are."""

import errno

import pytest

from runtime.errors import StageError
from runtime.execution import faults
from runtime.execution.faults import DiskFull, named


def chained():
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError:
        raise RuntimeError("cannot save") from None


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "model.safetensors"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_full_disk_is_named(tmp_path, error):
    assert isinstance(named(error, tmp_path, ()), DiskFull)


def test_full_disk_behind_another_error_is_named(tmp_path):
    with pytest.raises(RuntimeError) as caught:
        chained()
    assert isinstance(named(caught.value, tmp_path, ()), DiskFull)


def test_any_failure_without_space_left_is_a_full_disk(tmp_path, monkeypatch):
    """torch's writer only says "unexpected pos 64 vs 0"."""
    error = RuntimeError("unexpected pos 64 vs 0")
    assert named(error, tmp_path, ()) is error
    monkeypatch.setattr(faults, "LITTLE", 2**62)
    assert isinstance(named(error, tmp_path, ()), DiskFull)


def test_fault_that_names_itself_stays(tmp_path):
    error = StageError("the loss is nan")
    assert named(error, tmp_path, ()) is error
