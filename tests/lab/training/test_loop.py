"""The training loop: Eq. 13, repeatable, resumable, and loud about a loss that is none."""

from dataclasses import replace

import pytest
import torch

from lab.data.encoded import read_buckets
from lab.errors import LabError
from lab.models.family import StableDiffusion3
from lab.models.load import load_transformer
from lab.training.batches import Batches
from lab.training.history import write_history
from lab.training.loop import TrainConfig, Trainer
from lab.training.lora import add_lora
from lab.training.loss import sample_timesteps, velocity_loss
from taca.hooks import TacaConfig
from tests.tiny_base import tiny_base
from tests.tiny_encoded import encoded

CONFIG = TrainConfig(
    steps=6,
    batch_size=4,
    learning_rate=1e-2,
    weight_decay=0.01,
    checkpoint_every=2,
    seed=3,
    mixed_precision="no",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read_buckets(encoded(tmp_path_factory.mktemp("encoded")))


def trainer(data, work, config=CONFIG, gamma=1.2, base=tiny_base) -> Trainer:
    work.mkdir(exist_ok=True)
    transformer = load_transformer(base())
    parameters = add_lora(transformer, 4, 4, None, seed=3)
    return Trainer(transformer, parameters, Batches(data, 4), config, TacaConfig(gamma=gamma), work)


def test_timesteps_lie_in_the_interval_of_eq_13():
    """All in [threshold, 1000], spread over it."""
    timesteps = sample_timesteps(1000, 970.0, torch.Generator().manual_seed(0))
    assert 970 <= timesteps.min() < 972
    assert 998 < timesteps.max() <= 1000


def test_the_loss_is_zero_for_the_true_velocity():
    """A model that answers noise - latents has no error, whatever the timestep."""
    latents, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    batch = {"latents": latents, "prompt_embeds": torch.zeros(2, 1, 1), "pooled_prompt_embeds": torch.zeros(2, 1)}
    family = StableDiffusion3({})
    timestep = torch.tensor([970.0, 1000.0])

    def perfect(hidden_states, timestep, **_):
        sigma = (timestep / 1000)[:, None, None, None]
        torch.testing.assert_close(hidden_states, (1 - sigma) * latents + sigma * noise)
        return (noise - latents,)

    assert velocity_loss(perfect, family, batch, noise, timestep).item() == 0


def test_training_lowers_the_loss_and_notes_the_held_out_one(tmp_path, data):
    """The history has every step's loss and held-out losses at its ends; training moves it."""
    history = trainer(data, tmp_path / "w", replace(CONFIG, steps=20, checkpoint_every=10)).run(lambda *_: None)
    assert [row["step"] for row in history] == list(range(21))
    held_out = [row["held_out_loss"] for row in history if row["held_out_loss"] is not None]
    assert len(held_out) == 3
    assert held_out[-1] < held_out[0]


def test_gamma_takes_part_in_training(tmp_path, data):
    """The same seeds under another gamma give another loss from the first step on."""
    first, second = (trainer(data, tmp_path / str(g), gamma=g).run(lambda *_: None)[1]["loss"] for g in (1.0, 1.5))
    assert first != second


def test_a_killed_training_ends_with_the_same_bits(tmp_path, data):
    """Going on from the last checkpoint gives the weights and history of an unbroken run."""

    def stop(metrics, step):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(data, tmp_path / "broken").run(stop)
    resumed, whole = trainer(data, tmp_path / "broken"), trainer(data, tmp_path / "whole")
    assert resumed.run(lambda *_: None) == whole.run(lambda *_: None)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters, whole.parameters, strict=True))


def test_a_nan_loss_stops_training_with_the_remedy(tmp_path, data):
    """The step and what to lower are named."""
    broken = read_buckets(encoded(tmp_path / "nan", fill=float("nan")))
    with pytest.raises(LabError, match=r"The training loss is nan at step 0; lower `train.learning_rate`"):
        trainer(broken, tmp_path / "w").run(lambda *_: None)


def test_too_few_samples_to_hold_any_out_are_refused(data):
    """The error names the key and the number of samples."""
    with pytest.raises(LabError, match=r"`train.held_out` is 20, but there are 20 encoded samples"):
        Batches(data, 20)


def test_the_history_file_leaves_unmeasured_values_empty(tmp_path):
    """CSV columns as dvc plots reads them."""
    write_history(tmp_path / "h.csv", [{"step": 0, "loss": None, "held_out_loss": 1.25}])
    assert (tmp_path / "h.csv").read_text() == "step,loss,held_out_loss\n0,,1.250000\n"
