"""From the hook to the kernel a reader meets few functions."""

import traceback
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_models import CASES, predict

import taca as package
from taca import taca

HOME = Path(package.__file__).parent


@pytest.mark.parametrize("name", ["sd3.5", "flux"])
def test_at_most_four_calls_of_this_package_lead_to_the_kernel(name, monkeypatch):
    case = next(case for case in CASES if case.name == name)
    model, kernel, calls = case.model(), F.scaled_dot_product_attention, []

    def recorded(*args, **kwargs):
        frames = [frame for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(HOME)]
        calls.append([frame.name for frame in frames])
        return kernel(*args, **kwargs)

    with torch.no_grad(), taca(model, gamma=2.0):
        monkeypatch.setattr(F, "scaled_dot_product_attention", recorded)
        predict(model, case.inputs([980.0]))
    ours = [names for names in calls if names]
    assert ours, "no call of the kernel went through TACA"
    assert all(names[0] == "__call__" and len(names) <= 4 for names in ours), ours
