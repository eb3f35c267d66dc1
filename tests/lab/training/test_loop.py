"""The training loop: Eq. 13, repeatable, resumable, and loud about a loss that is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from lab.data.encoded import read_buckets
from lab.errors import LabError
from lab.models.family import StableDiffusion3
from lab.models.load import load_transformer
from lab.training.batches import Batches
from lab.training.history import write_history
from lab.training.loop import TrainConfig, Trainer
from lab.training.lora import add_lora
from lab.training.loss import sample_timesteps, schedule_shift, velocity_loss
from taca.hooks import TacaConfig
from tests.tiny_base import tiny_base
from tests.tiny_encoded import FLUX, encoded
from tests.tiny_flux import tiny_flux

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


@pytest.mark.long
def test_an_adapter_that_keeps_gamma_has_nothing_to_undo(tmp_path, data):
    """At its start its loss is that without gamma, and the pass that is trained is still under gamma."""
    losses = {}
    for name, gamma, keep in (("plain", 1.0, False), ("taca", 1.5, False), ("kept", 1.5, True)):
        made = trainer(data, tmp_path / name, gamma=gamma)
        made.keep_gamma = keep
        history = made.run(lambda *_: None)
        losses[name] = history[0]["held_out_loss"], history[1]["loss"], history[-1]["loss"]
    assert losses["kept"][:2] == pytest.approx(losses["plain"][:2], rel=1e-5)
    assert losses["kept"][0] != pytest.approx(losses["taca"][0], rel=1e-5)
    assert losses["kept"][2] != pytest.approx(losses["plain"][2], rel=1e-5), "its gradients are those under gamma"


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


@pytest.mark.long
def test_flux_goes_on_from_a_checkpoint_as_well(tmp_path):
    """With every setting on: schedule with warm-up, clipping, accumulation, dropped captions, two sizes of image."""
    config = replace(
        CONFIG,
        learning_rate_schedule="cosine",
        warmup_steps=2,
        max_gradient_norm=0.5,
        gradient_accumulation=2,
        mixed_precision="bf16",
        shift=lambda height, width: 3.0,
    )
    folder = encoded(encoded(tmp_path / "data", 12, FLUX), 12, FLUX, (12, 16), first=2)
    empty = {"prompt_embeds": torch.zeros(16, 128), "pooled_prompt_embeds": torch.zeros(64)}

    def make(work):
        work.mkdir(exist_ok=True)
        transformer = load_transformer(tiny_flux())
        batches = Batches(read_buckets(folder), 6, 0.5, empty)
        parameters = add_lora(transformer, 4, 4, None, seed=3)
        return Trainer(transformer, parameters, batches, config, TacaConfig(gamma=1.2), work)

    def stop(metrics, step):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "broken").run(stop)
    resumed, whole = make(tmp_path / "broken"), make(tmp_path / "whole")
    assert resumed.run(lambda *_: None) == whole.run(lambda *_: None)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters, whole.parameters, strict=True))


@pytest.mark.parametrize(("schedule", "expected"), [("constant", (0, 5, 10, 10)), ("linear", (0, 5, 10, 2.5))])
def test_the_learning_rate_follows_its_schedule(tmp_path, data, schedule, expected):
    """Two steps of warm-up, then constant, or down to nothing at the last step's end."""
    config = replace(CONFIG, learning_rate=10.0, learning_rate_schedule=schedule, warmup_steps=2)
    found, rates = trainer(data, tmp_path / "w", config), []
    for _ in range(6):
        rates.append(found.optimizer.param_groups[0]["lr"])
        found.optimizer.step()
        found.rate.step()
    assert (rates[0], rates[1], rates[2], rates[5]) == expected


def test_accumulated_passes_add_up_to_the_step_of_a_larger_batch(tmp_path, data):
    """Two passes of two samples have the gradients of one pass of four."""
    one = trainer(data, tmp_path / "one", replace(CONFIG, batch_size=4))
    two = trainer(data, tmp_path / "two", replace(CONFIG, batch_size=2, gradient_accumulation=2))
    (batch,) = one._draw(0)
    halves = [{key: value[start : start + 2] for key, value in batch.items()} for start in (0, 2)]
    losses = one._update([batch]), two._update(halves)
    torch.testing.assert_close(*losses)
    for a, b in zip(one.parameters, two.parameters, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_gradients_are_scaled_down_to_the_norm(tmp_path, data):
    """Their norm when the optimizer sees them is the one that was asked for."""
    found, norms = trainer(data, tmp_path / "w", replace(CONFIG, max_gradient_norm=1e-3)), []

    def note(*_):
        gradients = [p.grad.norm() for p in found.parameters if p.grad is not None]
        norms.append(torch.stack(gradients).norm().item())

    found.optimizer.register_step_pre_hook(note)
    found._update(found._draw(0))
    assert norms == [pytest.approx(1e-3, rel=1e-3)]


def test_dropped_captions_are_the_empty_one(data):
    """About as often as asked, and latents stay."""
    empty = {"prompt_embeds": torch.full((16, 128), 7.0), "pooled_prompt_embeds": torch.full((128,), 7.0)}
    batch = Batches(data, 4, 0.25, empty).draw(400, torch.Generator().manual_seed(0))
    dropped = (batch["prompt_embeds"] == 7).all(dim=(1, 2))
    assert 60 < dropped.sum() < 140
    assert torch.equal(dropped, (batch["pooled_prompt_embeds"] == 7).all(dim=1))


def test_every_size_is_held_out_in_proportion(tmp_path):
    """No held-out sample is trained on, and each batch has one size."""
    encoded(tmp_path, 24)
    batches = Batches(read_buckets(encoded(tmp_path, 8, size=(12, 16), first=3)), 8)
    assert batches.trained == [18, 6]
    held_out = list(batches.held_out(4))
    assert sum(len(batch["latents"]) for batch in held_out) == 8
    generator = torch.Generator().manual_seed(0)
    drawn = [batches.draw(4, generator)["latents"] for _ in range(40)]
    assert {latents.shape[1:] for latents in drawn} == {(4, 16, 16), (4, 12, 16)}
    seen = {row.flatten()[:8] for latents in drawn for row in latents}
    for batch in held_out:
        for row in batch["latents"]:
            assert not any(torch.equal(row.flatten()[:8], other) for other in seen)


def test_timesteps_as_dense_as_the_schedule_of_an_image():
    """Of many steps of the pipelines' own schedule, those in the window have the same quantiles."""
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    shift = schedule_shift(scheduler.config, 2)(128, 128)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1e-4, 10_000).tolist(), mu=1.15)
    own = scheduler.timesteps[scheduler.timesteps >= 970]
    drawn = sample_timesteps(20_000, 970.0, torch.Generator().manual_seed(0), shift)
    assert 970 <= drawn.min() <= drawn.max() <= 1000
    for part in (0.1, 0.5, 0.9):
        assert drawn.quantile(part).item() == pytest.approx(own.quantile(part).item(), abs=0.5)
    assert schedule_shift({"use_dynamic_shifting": False, "shift": 3.0}, 2)(128, 128) == 3.0


def test_samples_of_another_base_are_refused(tmp_path, data):
    """The sentence names what differs and the stage that makes them."""
    with pytest.raises(LabError, match=r"data/encoded was made for another base: .* \(4, 128, 128\), and this Flux"):
        trainer(data, tmp_path / "w", base=tiny_flux)


def test_guidance_is_embedded_where_the_base_does_and_refused_elsewhere(tmp_path, data):
    """1.0 unless another is asked for."""
    flux = read_buckets(encoded(tmp_path / "flux", 20, FLUX))
    assert trainer(flux, tmp_path / "a", base=tiny_flux).guidance == 1.0
    assert trainer(flux, tmp_path / "b", replace(CONFIG, guidance=3.5), base=tiny_flux).guidance == 3.5
    assert trainer(data, tmp_path / "c").guidance is None
    with pytest.raises(LabError, match=r"`train.guidance` is 3.5, but this SD3Transformer2DModel embeds no guidance"):
        trainer(data, tmp_path / "d", replace(CONFIG, guidance=3.5))


def test_pace_and_waiting_are_logged(tmp_path, data):
    """Images a second, and the share of the time spent waiting for data."""
    logged = []
    trainer(data, tmp_path / "w").run(lambda metrics, step: logged.append(metrics))
    paces = [metrics for metrics in logged if "images_per_second" in metrics]
    assert len(paces) == 3
    assert all(metrics["images_per_second"] > 0 and 0 <= metrics["data_wait_share"] < 1 for metrics in paces)


def test_the_history_file_leaves_unmeasured_values_empty(tmp_path):
    """CSV columns as dvc plots reads them."""
    write_history(tmp_path / "h.csv", [{"step": 0, "loss": None, "held_out_loss": 1.25}])
    assert (tmp_path / "h.csv").read_text() == "step,loss,held_out_loss\n0,,1.250000\n"
