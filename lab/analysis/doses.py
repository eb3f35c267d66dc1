"""How far each method moves the text logits, what attention the text gets, and what guidance would do as much.

All are measured where the baseline passes: its latents in each step are put through the transformer again, once without
the prompt and once by each method, so that methods meet the same queries and keys.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from lab.analysis.attention import SLICE
from lab.analysis.drawing import Images, Studio
from lab.generation.methods import method_of
from taca.hooks import by_method
from taca.methods import Keys, Method, Temperature
from taca.steps import active_steps
from taca.text_states import TextStates

# Arguments of a transformer that have a row for each sample.
BATCHED = ("hidden_states", "timestep", "encoder_hidden_states", "pooled_projections", "guidance")


@dataclass(frozen=True)
class Dose:
    """What a method does in the steps in which it acts.

    Attributes:
        steps: in how many steps it acts.
        change: mean absolute change of a text logit, over steps, layers, samples, heads, image queries and text keys.
        mass: mean part of an image query's attention that goes to the text. Both None of what acts on text states.
        scale: the guidance 1 + sum <v_m - v_c, v_c - v_u> / sum |v_c - v_u|^2, over steps, samples and latents, with
            v_m the velocity by the method, v_c and v_u those with and without the prompt: the guidance in these steps
            that does as much in direction of the prompt. None of a base without a second pass.
    """

    steps: int
    change: float | None
    mass: float | None
    scale: float | None


@dataclass
class Recorded:
    """A method, and what it does to the logits of each pass."""

    method: Method
    change: list[float] = field(default_factory=list)
    mass: list[float] = field(default_factory=list)

    @property
    def neutral(self) -> bool:
        return False

    def keys(self, query: torch.Tensor, keys: Keys, layer: int) -> Keys:
        new = self.method.keys(query, keys, layer)
        change, mass = moved(query, keys, new)
        self.change.append(change)
        self.mass.append(mass)
        return new


@torch.no_grad()
def moved(query: torch.Tensor, old: Keys, new: Keys) -> tuple[float, float]:
    """Mean absolute change of a text logit, and mean attention to the text by the new keys; a slice at a time."""
    changes, masses = [], []
    precise = torch.promote_types(query.dtype, torch.float32)
    for sample in range(len(query)):
        before, text, image = (key[sample].to(precise).transpose(-1, -2) for key in (old.text, new.text, new.image))
        bias = None
        if new.bias is not None:
            bias = new.bias.expand(*query.shape[:3], 1)[sample].to(precise)
        for start in range(0, query.shape[2], SLICE):
            part = query[sample, :, start : start + SLICE].to(precise) / query.shape[-1] ** 0.5
            logits = part @ text if bias is None else part @ text + bias[:, start : start + SLICE]
            changes.append((logits - part @ before).abs().mean((0, 2)))
            masses.append(torch.sigmoid(logits.logsumexp(-1) - (part @ image).logsumexp(-1)).mean(0))
    return torch.cat(changes).mean().item(), torch.cat(masses).mean().item()


def doses(studio: Studio, pipe, images: Images, arms: Sequence[object]) -> list[Dose]:
    """The doses of arms' methods, on the way of the unchanged pipeline.

    Args:
        arms: as entries of section `arms` say method, gamma, threshold (as it is meant) and what is a method's own.
    """
    inside = [_steps(studio, pipe, arm.threshold, arm.until) for arm in arms]
    passes = [one for batch in studio.batches(images) for one in _passes(studio, pipe, batch, set().union(*inside))]
    return [
        _dose(pipe, arm, [one for one in passes if one.step in steps], len(steps))
        for arm, steps in zip(arms, inside, strict=True)
    ]


@dataclass(frozen=True)
class _Pass:
    """One pass of the baseline: its arguments, its velocity, and that without the prompt if the pipeline can say it."""

    step: int
    arguments: Mapping[str, object]
    velocity: torch.Tensor
    unprompted: torch.Tensor | None


def _steps(studio: Studio, pipe, threshold: float, until: float | None) -> set[int]:
    """The steps at or above a noise level, and below the other."""
    found = active_steps(pipe, studio.sampling.num_inference_steps, *studio.size(pipe), threshold=threshold)
    return {step for step, level in found if until is None or level < until}


@torch.no_grad()
def _passes(studio: Studio, pipe, batch: Images, wanted: Collection[int]) -> list[_Pass]:
    with _noted(pipe.transformer) as noted:
        studio.predictions(pipe, batch)
    embeddings = studio.embeddings.of([image.prompt for image in batch], pipe._execution_device)
    found = []
    for step in sorted(wanted):
        arguments, velocity = noted[step]
        # With guidance the samples without a prompt come first.
        own = {key: value[-len(batch) :] if key in BATCHED else value for key, value in arguments.items()}
        unprompted = None
        if "negative_prompt_embeds" in embeddings:
            without = {
                "encoder_hidden_states": embeddings["negative_prompt_embeds"],
                "pooled_projections": embeddings["negative_pooled_prompt_embeds"],
            }
            unprompted = pipe.transformer(**own | without)[0]
        found.append(_Pass(step, own, velocity[-len(batch) :], unprompted))
    return found


@contextmanager
def _noted(transformer: torch.nn.Module) -> Iterator[list[tuple[dict, torch.Tensor]]]:
    """Collects arguments and output of each pass."""
    found = []
    handle = transformer.register_forward_hook(
        lambda _module, _args, arguments, output: found.append((arguments, output[0])), with_kwargs=True
    )
    try:
        yield found
    finally:
        handle.remove()


@torch.no_grad()
def _dose(pipe, arm, passes: Sequence[_Pass], steps: int) -> Dose:
    given = method_of(arm) or Temperature(arm.gamma)
    method = given if isinstance(given, TextStates) else Recorded(given)
    along, length = 0.0, 0.0
    with by_method(pipe, method, threshold=arm.threshold, until=arm.until):
        for one in passes:
            velocity = pipe.transformer(**one.arguments)[0]
            if one.unprompted is not None:
                direction = (one.velocity - one.unprompted).double()
                along += ((velocity - one.velocity).double() * direction).sum().item()
                length += direction.square().sum().item()
    scale = 1 + along / length if length else None
    if method is given:
        return Dose(steps, None, None, scale)
    return Dose(steps, _mean(method.change), _mean(method.mass), scale)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
