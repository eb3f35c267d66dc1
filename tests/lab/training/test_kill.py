"""A training that is killed at any moment ends, when it goes on, with the bytes of one that never was."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tiny_base import tiny_base
from tests.tiny_encoded import FLUX, SD3, encoded
from tests.tiny_flux import tiny_flux

ROOT = Path(__file__).parents[3]
TRAIN = """
import sys
from pathlib import Path

import torch

from lab.data.encoded import read_buckets
from lab.training.batches import Batches
from lab.training.frozen import deterministic, load_frozen, recompute_blocks
from lab.training.history import write_history
from lab.training.loop import TrainConfig, Trainer
from lab.training.lora import add_lora, save_lora
from taca import TacaConfig

torch.set_num_threads(1)
base, data, work = map(Path, sys.argv[1:])
config = TrainConfig(
    60, 4, 1e-2, 0.01, checkpoint_every=5, seed=3, mixed_precision="bf16", learning_rate_schedule="cosine",
    warmup_steps=3, max_gradient_norm=1.0, gradient_accumulation=2,
)
with deterministic(True):
    transformer = load_frozen(base, "bf16")
    parameters = add_lora(transformer, 4, 4, None, seed=3)
    recompute_blocks(transformer, 2)
    batches = Batches(read_buckets(data), 4)
    history = Trainer(transformer, parameters, batches, config, TacaConfig(), work).run(lambda *_: None)
save_lora(transformer, work / "adapter", {})
write_history(work / "adapter" / "history.csv", history)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("base", "widths"), [(tiny_base, SD3), (tiny_flux, FLUX)], ids=["sd3", "flux"])
def test_a_killed_training_ends_with_the_same_bytes(base, widths, tmp_path):
    data = encoded(tmp_path / "data", 20, widths)

    def start(name: str) -> subprocess.Popen:
        (tmp_path / name).mkdir(exist_ok=True)
        arguments = map(str, (base(), data, tmp_path / name))
        return subprocess.Popen([sys.executable, "-c", TRAIN, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)

    killed = start("broken")
    while not (tmp_path / "broken/checkpoint.pt").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "broken/adapter").exists()
    contents = []
    for name in ("broken", "whole"):
        assert start(name).wait() == 0
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name / "adapter").iterdir()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2
