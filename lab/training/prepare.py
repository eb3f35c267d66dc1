"""The trainer of an adapter, from a base that is loaded already and the parameters of section `train`."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from torch import nn

from lab.data.encoded import Bucket
from lab.models.family import family_of
from lab.models.thresholds import threshold_at
from lab.training.batches import Batches, Tensors
from lab.training.frozen import compile_blocks, recompute_blocks
from lab.training.loop import TrainConfig, Trainer
from lab.training.lora import add_lora
from lab.training.loss import schedule_shift
from taca.config import TacaConfig


def prepare(
    transformer: nn.Module,
    scheduler: Mapping,
    buckets: Sequence[Bucket],
    adapter,
    settings,
    work: Path,
    empty_caption: Tensors | None = None,
) -> Trainer:
    """Adds the adapter to the transformer, and makes its trainer.

    Args:
        scheduler: the base's configuration of it.
        adapter: rank, alpha, gamma, threshold and what it was chosen at, whether gamma is kept, as an entry of section
            `adapters` has them.
        settings: as section `train` has them.
        empty_caption: as in `Batches`.

    Raises:
        LabError: base, samples and settings do not go together.
    """
    parameters = add_lora(transformer, adapter.rank, adapter.alpha, settings.targets, settings.seed)
    recompute_blocks(transformer, settings.gradient_checkpointing)
    if settings.compile:
        compile_blocks(transformer, len(buckets))
    shift = None
    if settings.timesteps == "scheduled":
        shift = schedule_shift(scheduler, family_of(transformer).patch)
    names = {field.name for field in fields(TrainConfig)} - {"shift"}
    config = TrainConfig(shift=shift, **{name: getattr(settings, name) for name in names})
    batches = Batches(buckets, settings.held_out, settings.caption_dropout, empty_caption)
    threshold = threshold_at(adapter.threshold, adapter.threshold_tokens, scheduler, _tokens(transformer, buckets))
    taca_config = TacaConfig(gamma=adapter.gamma, threshold=threshold)
    return Trainer(transformer, parameters, batches, config, taca_config, work, adapter.keep_gamma)


def _tokens(transformer: nn.Module, buckets: Sequence[Bucket]) -> int:
    """Image tokens of the shape that most samples have; crops of other shapes have about as many."""
    _, height, width = max(buckets, key=len).shape
    patch = family_of(transformer).patch
    return (height // patch) * (width // patch)
