"""Trains one adapter: seeded steps, a held-out loss, and checkpoints from which a killed run ends the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from tqdm import tqdm

from lab.errors import LabError
from lab.training.loss import sample_timesteps, velocity_loss
from taca.hooks import TacaConfig, taca

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class TrainConfig:
    """The loop's settings; `held_out` samples at the end of the data are never trained on."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    held_out: int
    checkpoint_every: int
    seed: int
    mixed_precision: str


class Trainer:
    """AdamW on an adapter's parameters under `taca_config`, on accelerate's device and precision."""

    def __init__(
        self, transformer, parameters, data: Tensors, config: TrainConfig, taca_config: TacaConfig, work: Path
    ):
        if len(data["latents"]) <= config.held_out:
            raise LabError(
                f"`train.held_out` is {config.held_out}, but there are {len(data['latents'])} encoded samples; lower "
                "it or raise `sample.size`."
            )
        self.config, self.taca_config = config, taca_config
        self.accelerator = Accelerator(mixed_precision=config.mixed_precision)
        optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.transformer, self.optimizer = self.accelerator.prepare(transformer, optimizer)
        self.parameters = parameters
        self.training = {key: value[: -config.held_out] for key, value in data.items()}
        self.held_out = {key: value[-config.held_out :] for key, value in data.items()}
        self.checkpoint = work / "checkpoint.pt"
        self.history: list[dict[str, float | int | None]] = []

    def run(self, log: Callable[[dict[str, float], int], None]) -> list[dict]:
        """Trains to the end and returns the history: `step`, `loss`, `held_out_loss` (None on most steps).

        Raises:
            LabError: a loss is not finite.
        """
        first = self._resume()
        with taca(self.accelerator.unwrap_model(self.transformer), self.taca_config):
            if first == 0:
                self._note(log, 0, None)
            for step in tqdm(range(first, self.config.steps), desc="train", unit="step", disable=None):
                loss = self._step(step)
                if not torch.isfinite(torch.tensor(loss)):
                    raise LabError(
                        f"The training loss is {loss} at step {step}; lower `train.learning_rate` or check the data, "
                        "then run `dvc repro` again."
                    )
                self._note(log, step + 1, loss)
                if (step + 1) % self.config.checkpoint_every == 0:
                    self._save(step + 1)
        return self.history

    def _step(self, step: int) -> float:
        generator = self._generator(step)
        index = torch.randint(len(self.training["latents"]), (self.config.batch_size,), generator=generator)
        batch = {key: value[index] for key, value in self.training.items()}
        loss = self._loss(batch, generator)
        self.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def _loss(self, batch: Tensors, generator: torch.Generator) -> torch.Tensor:
        timestep = sample_timesteps(len(batch["latents"]), self.taca_config.threshold, generator)
        noise = torch.randn(batch["latents"].shape, generator=generator)
        device = self.accelerator.device
        batch = {key: value.to(device) for key, value in batch.items()}
        with self.accelerator.autocast():
            return velocity_loss(self.transformer, batch, noise.to(device), timestep.to(device))

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Loss on the held-out samples, always with the same noise and timesteps."""
        generator = self._generator(-1)
        losses = []
        for start in range(0, self.config.held_out, self.config.batch_size):
            batch = {key: value[start : start + self.config.batch_size] for key, value in self.held_out.items()}
            losses += [self._loss(batch, generator).item()] * len(batch["latents"])
        return sum(losses) / len(losses)

    def _note(self, log, step: int, loss: float | None) -> None:
        measured = step % self.config.checkpoint_every == 0 or step == self.config.steps
        row = {"step": step, "loss": loss, "held_out_loss": self.held_out_loss() if measured else None}
        self.history.append(row)
        log({key: value for key, value in row.items() if key != "step" and value is not None}, step)

    def _generator(self, step: int) -> torch.Generator:
        """Random numbers of one step, the same whether the run was interrupted before it or not."""
        return torch.Generator().manual_seed(self.config.seed * 1_000_003 + step + 1)

    def _save(self, step: int) -> None:
        state = {
            "step": step,
            "parameters": [parameter.detach().cpu() for parameter in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _resume(self) -> int:
        if not self.checkpoint.exists():
            return 0
        state = torch.load(self.checkpoint, weights_only=True)
        with torch.no_grad():
            for parameter, value in zip(self.parameters, state["parameters"], strict=True):
                parameter.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = state["history"]
        return state["step"]
