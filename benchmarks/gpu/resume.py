"""Whether a training that is broken off and goes on ends with the same bits, with and without determinism."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.gpu.scale import Scale
from benchmarks.gpu.training import Case, again, own, trainer_of
from lab.training.frozen import deterministic
from lab.training.loop import Trainer

STEPS = 4  # with a checkpoint in the middle


class BrokenOff(Exception):
    """Ends a training."""


def resume_rows(scale: Scale, device: str) -> Iterator[dict]:
    """SD3.5-medium by its profile, eager; a row for each setting of `train.deterministic`."""
    case = own("SD3.5", (), "sd35-medium")
    for on in (True, False):
        changes = {"deterministic": on, "compile": False, "steps": STEPS, "checkpoint_every": STEPS // 2}
        with deterministic(on):
            yield {"model": case.model, "deterministic": on, **hashes(case._replace(changes=changes), scale, device)}


def hashes(case: Case, scale: Scale, device: str) -> dict:
    """SHA-256 of the adapter's parameters after an unbroken training, and after one that was broken off."""
    with TemporaryDirectory() as folder:
        first = trainer_of(case, scale, device, Path(folder))
        start = [parameter.detach().clone() for parameter in first.parameters]
        whole = trained(first, start, Path(folder) / "whole")
        try:
            trained(first, start, Path(folder) / "broken", end=STEPS)
        except BrokenOff:
            # It goes on from the checkpoint, whatever the parameters are.
            resumed = trained(first, [torch.zeros_like(value) for value in start], Path(folder) / "broken")
    return {"whole": whole, "resumed": resumed, "same": whole == resumed}


def trained(first: Trainer, start: list[torch.Tensor], work: Path, end: int | None = None) -> str:
    """Trains from `start` or a checkpoint in `work`; breaks off at step `end`, before its checkpoint."""
    work.mkdir(exist_ok=True)

    def log(metrics: dict, step: int) -> None:
        if step == end:
            raise BrokenOff

    with torch.no_grad():
        for parameter, value in zip(first.parameters, start, strict=True):
            parameter.copy_(value)
    again(first, 1.2, work).run(log)
    numbers = [parameter.detach().float().cpu().numpy().tobytes() for parameter in first.parameters]
    return sha256(b"".join(numbers)).hexdigest()
