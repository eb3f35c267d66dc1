"""A large base computes on a CPU only where that was asked for, in whatever stage, and is not loaded before."""

import json

import pytest
import torch

from lab.errors import LabError
from lab.models.load import load_base, load_encoders
from lab.training.frozen import load_frozen
from tests.published import make_checkpoint

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU that PyTorch can use")


@pytest.mark.parametrize("load", [load_base, load_encoders, load_frozen])
def test_a_large_base_on_a_cpu_is_refused_unasked(load, tmp_path, monkeypatch):
    checkpoint = make_checkpoint("sd35-medium", tmp_path / "checkpoint")
    files = {"transformer/config.json": {"size": 2_000_000_000, "sha256": "0" * 64}}
    (tmp_path / "pin.json").write_text(json.dumps({"files": files, "folder": str(checkpoint)}))
    asked = "set TACA_ALLOW_CPU=1 if it shall take days on the CPU"
    with pytest.raises(LabError, match=asked):
        load(tmp_path, "float32")
    monkeypatch.setenv("TACA_ALLOW_CPU", "1")
    with pytest.raises(LabError, match=r"is not the file of the base that pin\.json names"):
        load(tmp_path, "float32")
