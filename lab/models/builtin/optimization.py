"""One training loop for the three parts of the base: seeded batches, warm-up and cosine decay, exact resume."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from lab.errors import LabError

WARMUP = 100
CHECKPOINT_EVERY = 500


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of one step, the same whether the run was interrupted before it or not."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def learning_rate_scale(step: int, steps: int) -> float:
    """Linear warm-up over `WARMUP` steps, then cosine decay to zero."""
    warm = min(1.0, (step + 1) / WARMUP)
    return warm * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps)).item())


class Averaged:
    """Exponential moving average of parameters; the early average forgets the untrained start quickly."""

    def __init__(self, parameters: list[torch.Tensor], decay: float = 0.999):
        self.decay = decay
        self.values = [p.detach().clone() for p in parameters]

    def update(self, parameters: list[torch.Tensor], step: int) -> None:
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [p.detach() for p in parameters], weight)


class Optimizers:
    """AdamW, and Muon for the matrices given to it; their peak learning rates are scaled together."""

    def __init__(self, parameters: list[torch.Tensor], matrices: list[torch.Tensor], rate: float, matrix_rate: float):
        chosen = {id(matrix) for matrix in matrices}
        rest = [p for p in parameters if id(p) not in chosen]
        self.parts = [torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)]
        if matrices:
            self.parts.append(torch.optim.Muon(matrices, lr=matrix_rate, weight_decay=0.01))
        self.peaks = [part.defaults["lr"] for part in self.parts]

    def step(self, scale: float) -> None:
        """One step at `scale` times the peak learning rates; clears the gradients."""
        for part, peak in zip(self.parts, self.peaks, strict=True):
            for group in part.param_groups:
                group["lr"] = peak * scale
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def train(
    name: str,
    modules: dict[str, torch.nn.Module],
    loss_of: Callable[[torch.Generator, int], torch.Tensor],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    work: Path,
    log: Callable[[dict, int], None],
    matrices: Sequence[torch.Tensor] = (),
    matrix_learning_rate: float = 0.0,
) -> None:
    """Minimises `loss_of(generator, step)` over the modules' parameters, which end as their moving average.

    `matrices` are those of the parameters that Muon trains, at `matrix_learning_rate`; AdamW trains the others.
    Progress is kept in `work/<name>.pt`, from which a killed run goes on with the same numbers.

    Raises:
        LabError: the loss is not finite.
    """
    parameters = [p for module in modules.values() for p in module.parameters() if p.requires_grad]
    optimizer = Optimizers(parameters, list(matrices), learning_rate, matrix_learning_rate)
    average = Averaged(parameters)
    checkpoint = work / f"{name}.pt"
    first = _resume(checkpoint, parameters, optimizer, average)
    for step in _progress(name, first, steps):
        loss = loss_of(step_generator(seed, step), step)
        if not torch.isfinite(loss):
            raise LabError(
                f"base: the {name} loss is {loss.item()} at step {step}; lower base.{name}_learning_rate and run again."
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step(learning_rate_scale(step, steps))
        average.update(parameters, step)
        if step % 20 == 0:
            log({f"{name}_loss": loss.item()}, step)
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps:
            _save(checkpoint, parameters, optimizer, average, step + 1)
    with torch.no_grad():
        for parameter, value in zip(parameters, average.values, strict=True):
            parameter.copy_(value)


def _progress(name: str, first: int, steps: int) -> Iterator[int]:
    # disable=None: no bar where the output is not a terminal.
    return tqdm(range(first, steps), initial=first, total=steps, desc=name, disable=None)


def _save(path: Path, parameters, optimizer, average, step: int) -> None:
    state = {
        "step": step,
        "parameters": [p.detach() for p in parameters],
        "average": average.values,
        "optimizer": optimizer.state_dict(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resume(path: Path, parameters, optimizer, average) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for targets, values in ((parameters, state["parameters"]), (average.values, state["average"])):
            for target, value in zip(targets, values, strict=True):
                target.copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]
