"""Trains one adapter: seeded steps, a held-out loss, and checkpoints from which a killed run ends the same."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.optimization import get_scheduler
from tqdm import tqdm

from lab.data.ahead import Ahead
from lab.errors import LabError
from lab.models.family import family_of
from lab.training.batches import Batches, Tensors
from lab.training.lora import keep_inputs
from lab.training.loss import predicted_velocity, sample_timesteps, velocity_loss
from lab.training.pace import Pace
from lab.training.preview import Previews
from taca.hooks import TacaConfig, apply_taca, remove_taca, taca

READ_EVERY = 10  # steps: reading a loss has the host wait for the device


@dataclass(frozen=True)
class TrainConfig:
    """The loop's settings.

    Attributes:
        batch_size: samples of one pass; a step makes `gradient_accumulation` passes.
        checkpoint_every: steps between checkpoints, and between held-out losses.
        mixed_precision: "bf16": passes run under autocast; "no": in the base's own precision.
        learning_rate_schedule: "constant", "linear" or "cosine", after `warmup_steps`.
        max_gradient_norm: None: gradients are not clipped.
        shift: as in `sample_timesteps`, by latents' (H, W); None: timesteps are uniform.
        guidance: None: 1.0 for a base that embeds guidance.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    checkpoint_every: int
    seed: int
    mixed_precision: str
    learning_rate_schedule: str = "constant"
    warmup_steps: int = 0
    max_gradient_norm: float | None = None
    gradient_accumulation: int = 1
    guidance: float | None = None
    shift: Callable[[int, int], float] | None = None


class Trainer:
    """AdamW on an adapter's parameters under `taca_config`, on the device where the transformer is.

    Args:
        keep_gamma: the velocity that is aimed at moves by what gamma does to the base without the adapter. What the
            adapter can win by undoing gamma is then nothing: at its start it has the loss that it would have without
            gamma.

    Raises:
        LabError: samples encoded for another base, or a guidance scale for one that embeds none.
    """

    def __init__(
        self,
        transformer,
        parameters: Sequence[torch.nn.Parameter],
        batches: Batches,
        config: TrainConfig,
        taca_config: TacaConfig,
        work: Path,
        keep_gamma: bool = False,
    ):
        self.keep_gamma = keep_gamma
        self.transformer, self.parameters, self.batches = transformer, parameters, batches
        self.config, self.taca_config = config, taca_config
        self.family = family_of(transformer)
        self.family.check_encoded(batches.buckets[0].read([0]))
        self.guidance = self.family.guidance(config.guidance)
        self.device = transformer.device
        if config.mixed_precision == "bf16":
            keep_inputs(transformer)
        self.optimizer = torch.optim.AdamW(
            parameters,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True if self.device.type == "cuda" else None,
        )
        warm = config.learning_rate_schedule == "constant" and config.warmup_steps > 0
        self.rate = get_scheduler(
            "constant_with_warmup" if warm else config.learning_rate_schedule,
            self.optimizer,
            num_warmup_steps=config.warmup_steps,
            num_training_steps=config.steps,
        )
        self.checkpoint = work / "checkpoint.pt"
        self.history: list[dict[str, float | int | None]] = []
        self.unread: list[tuple[int, torch.Tensor]] = []

    def run(self, log: Callable[[dict[str, float], int], None], previews: Previews | None = None) -> list[dict]:
        """Trains to the end and returns the history: `step`, `loss`, `held_out_loss` (None on most steps).

        Raises:
            LabError: a loss is not finite.
        """
        first = self._resume()
        with taca(self.transformer, self._in_passes):
            if first == 0:
                self._note(log, 0, None)
                if previews is not None:
                    self._preview(previews, 0)
            drawn = Ahead(self._draw, range(first, self.config.steps))
            pace = Pace(drawn, self.config.batch_size * self.config.gradient_accumulation, self.device)
            bar = tqdm(drawn, total=self.config.steps, initial=first, desc="train", unit="step", disable=None)
            for step, batches in bar:
                self.unread.append((step + 1, self._update(batches)))
                due = previews is not None and previews.due(step + 1)
                if due or self._measured(step + 1) or len(self.unread) == READ_EVERY:
                    self._read_losses(log, pace)
                    if due:
                        self._preview(previews, step + 1)
                    if (step + 1) % self.config.checkpoint_every == 0:
                        self._save(step + 1)
                    pace.start()
        return self.history

    @property
    def _in_passes(self) -> TacaConfig:
        # All timesteps that are drawn lie above the threshold. Said so, TACA need not ask the device in every pass.
        return TacaConfig(gamma=self.taca_config.gamma, threshold=0.0)

    def _preview(self, previews: Previews, step: int) -> None:
        """Draws images, in which TACA acts as in an arm's and not as in a training pass."""
        remove_taca(self.transformer)
        try:
            previews.draw(step)
        finally:
            apply_taca(self.transformer, self._in_passes)

    def _draw(self, step: int) -> list[Tensors]:
        """What one step needs of the CPU, for each of its passes: samples, noise and timesteps."""
        generator = self._generator(step)
        return [
            self._noised(self.batches.draw(self.config.batch_size, generator), generator)
            for _ in range(self.config.gradient_accumulation)
        ]

    def _noised(self, batch: Tensors, generator: torch.Generator) -> Tensors:
        latents = batch["latents"]
        shift = None if self.config.shift is None else self.config.shift(*latents.shape[-2:])
        batch["timestep"] = sample_timesteps(len(latents), self.taca_config.threshold, generator, shift)
        batch["noise"] = torch.randn(latents.shape, generator=generator)
        if self.device.type == "cuda":
            # From pinned memory the copy to the device holds up nobody.
            batch = {key: value.pin_memory() for key, value in batch.items()}
        return batch

    def _update(self, batches: Sequence[Tensors]) -> torch.Tensor:
        """One step of the optimizer; its mean loss, which nobody has read yet."""
        losses = []
        for batch in batches:
            loss = self._loss(batch) / len(batches)
            loss.backward()
            losses.append(loss.detach())
        if self.config.max_gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_gradient_norm)
        self.optimizer.step()
        self.rate.step()
        self.optimizer.zero_grad()
        return torch.stack(losses).sum()

    def _loss(self, batch: Tensors) -> torch.Tensor:
        mixed = self.config.mixed_precision == "bf16"
        # Autocast takes embeddings of any precision, a float32 base its own alone.
        dtype = None if mixed else torch.float32
        batch = {key: value.to(self.device, dtype, non_blocking=True) for key, value in batch.items()}
        noise, timestep = batch.pop("noise"), batch.pop("timestep")
        with torch.autocast(self.device.type, torch.bfloat16) if mixed else nullcontext():
            moved = self._moved_by_gamma(batch, noise, timestep) if self.keep_gamma else 0.0
            return velocity_loss(self.transformer, self.family, batch, noise, timestep, self.guidance, moved)

    @torch.no_grad()
    def _moved_by_gamma(self, batch: Tensors, noise: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """What gamma does to the frozen base's velocity."""
        given = self.transformer, self.family, batch, noise, timestep, self.guidance
        self.transformer.disable_adapters()
        try:
            under = predicted_velocity(*given)
            remove_taca(self.transformer)
            try:
                return under - predicted_velocity(*given)
            finally:
                apply_taca(self.transformer, self._in_passes)
        finally:
            self.transformer.enable_adapters()

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Loss on the held-out samples, always with the same noise and timesteps."""
        generator, losses = self._generator(-1), []
        # Compiled, these passes without gradients would be graphs of their own.
        with torch.compiler.set_stance("force_eager"):
            for batch in self.batches.held_out(self.config.batch_size):
                losses += [self._loss(self._noised(batch, generator)).item()] * len(batch["latents"])
        return sum(losses) / len(losses)

    def _measured(self, step: int) -> bool:
        return step % self.config.checkpoint_every == 0 or step == self.config.steps

    def _read_losses(self, log, pace: Pace) -> None:
        steps, losses = zip(*self.unread, strict=True)
        self.unread = []
        losses = torch.stack(losses).tolist()
        log(pace.measure(len(steps)), steps[-1])
        for step, loss in zip(steps, losses, strict=True):
            if not torch.isfinite(torch.tensor(loss)):
                raise LabError(
                    f"The training loss is {loss} at step {step - 1}; lower `train.learning_rate` or check the data, "
                    "then run `dvc repro` again."
                )
            self._note(log, step, loss)

    def _note(self, log, step: int, loss: float | None) -> None:
        row = {"step": step, "loss": loss, "held_out_loss": self.held_out_loss() if self._measured(step) else None}
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
            "rate": self.rate.state_dict(),
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
        self.rate.load_state_dict(state["rate"])
        self.history = state["history"]
        return state["step"]
